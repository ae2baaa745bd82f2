"""Coefficients of point and line sources in an infinite medium: compiled loops, one row after the other.

The innermost loop runs over sites, so that the arithmetic of a row is the same wherever blocks of rows begin and end.
Anisotropic media (Nicholson & Freeman 1975, J. Neurophysiol. 38:356): with coordinates scaled by
(sqrt(sy sz), sqrt(sx sz), sqrt(sx sy)) the potential of a point source is I / (4 pi |r|), and that of a line source,
whose parametrisation is linear, the formula below in scaled coordinates.
"""

import math

import numba
import numpy as np

UNKNOWN_RADIUS = 0.5
"""Taken for compartments whose radius is unknown or 0 [um]: no coefficient may become infinite."""

SMALLEST_RADIUS = 1e-6
"""Below it, a radius is unknown [um]."""

SERIES_LIMIT = 0.04
"""Below this square of L / (d1 + d2) the series of artanh is used, with a relative error below 1e-15."""

NEARLY_ON = 1.001
"""Where d1 + d2 is less than this times L, d1 + d2 - L is not computed as such: its digits cancel."""

NO_DIRECTION = 1e-9
"""A site nearer to an axis than this part of the distances along it is on it: what is left across is rounding."""

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def point_source_rows(
    starts: np.ndarray,
    ends: np.ndarray,
    radii: np.ndarray,
    sites: np.ndarray,
    prefactors: np.ndarray,
    minimum_distances: np.ndarray,
    scale: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute the potential of point sources at the midpoints of compartments: prefactor / distance.

    Parameters
    ----------
    starts, ends : (C, 3) end points of compartments [um]
    radii : (C,) um
    sites : (3, S) um
    prefactors : (S,) 1 / (4 pi sigma), or 1 / (4 pi) with a scale
    minimum_distances : (S,) a site is never nearer to a compartment than this [um]; NaN: than the compartment's radius
    scale : (3,) of the coordinates; ones in isotropic media
    out : (C, S) mV/nA, written
    """
    n_sites = sites.shape[1]
    largest = max(scale[0], scale[1], scale[2])
    limits = np.empty(n_sites)
    for i in range(starts.shape[0]):
        x = (starts[i, 0] + ends[i, 0]) / 2
        y = (starts[i, 1] + ends[i, 1]) / 2
        z = (starts[i, 2] + ends[i, 2]) / 2
        radius = radii[i] if radii[i] > SMALLEST_RADIUS else UNKNOWN_RADIUS
        for s in range(n_sites):
            limit = minimum_distances[s]
            limits[s] = limit if limit == limit else radius
        near = 0
        for s in range(n_sites):
            dx = (sites[0, s] - x) * scale[0]
            dy = (sites[1, s] - y) * scale[1]
            dz = (sites[2, s] - z) * scale[2]
            distance = math.sqrt(dx * dx + dy * dy + dz * dz)
            out[i, s] = prefactors[s] / distance
            near += distance < largest * limits[s]
        if near:
            for s in range(n_sites):
                dx, dy, dz = _moved_out(sites[:, s], x, y, z, x, y, z, limits[s])
                dx, dy, dz = dx * scale[0], dy * scale[1], dz * scale[2]
                out[i, s] = prefactors[s] / math.sqrt(dx * dx + dy * dy + dz * dz)


@_compiled
def line_source_rows(
    starts: np.ndarray,
    ends: np.ndarray,
    radii: np.ndarray,
    sites: np.ndarray,
    prefactors: np.ndarray,
    minimum_distances: np.ndarray,
    scale: np.ndarray,
    out: np.ndarray,
) -> None:
    """Compute the potential of line sources: prefactor 2 artanh(L / (d1 + d2)) / L.

    d1 and d2 are the distances of the site from both ends; compartments without length are point sources. The same as
    ln[(d1 + d2 + L) / (d1 + d2 - L)] / L (Holt & Koch 1999, J. Comput. Neurosci. 6:169) without its cancellation.

    Parameters
    ----------
    as in `point_source_rows`
    """
    n_sites = sites.shape[1]
    largest = max(scale[0], scale[1], scale[2])
    limits, from_start, from_end = np.empty(n_sites), np.empty(n_sites), np.empty(n_sites)
    for i in range(starts.shape[0]):
        ax, ay, az = starts[i, 0], starts[i, 1], starts[i, 2]
        bx, by, bz = ends[i, 0], ends[i, 1], ends[i, 2]
        ex, ey, ez = (bx - ax) * scale[0], (by - ay) * scale[1], (bz - az) * scale[2]
        length = math.sqrt(ex * ex + ey * ey + ez * ez)
        if length == 0:
            point_source_rows(
                starts[i : i + 1],
                ends[i : i + 1],
                radii[i : i + 1],
                sites,
                prefactors,
                minimum_distances,
                scale,
                out[i : i + 1],
            )
        radius = radii[i] if radii[i] > SMALLEST_RADIUS else UNKNOWN_RADIUS
        for s in range(n_sites):
            limit = minimum_distances[s]
            limits[s] = limit if limit == limit else radius
        joined = i > 0 and ax == ends[i - 1, 0] and ay == ends[i - 1, 1] and az == ends[i - 1, 2]
        if joined:
            from_start, from_end = from_end, from_start
        else:
            for s in range(n_sites):
                dx = (sites[0, s] - ax) * scale[0]
                dy = (sites[1, s] - ay) * scale[1]
                dz = (sites[2, s] - az) * scale[2]
                from_start[s] = math.sqrt(dx * dx + dy * dy + dz * dz)
        for s in range(n_sites):
            dx = (sites[0, s] - bx) * scale[0]
            dy = (sites[1, s] - by) * scale[1]
            dz = (sites[2, s] - bz) * scale[2]
            from_end[s] = math.sqrt(dx * dx + dy * dy + dz * dz)
        if length == 0:
            continue
        near = 0
        for s in range(n_sites):
            both = from_start[s] + from_end[s]
            q = length / both
            p = q * q
            series = 1 / 19.0
            for k in range(8, -1, -1):
                series = series * p + 1 / (2.0 * k + 1)
            out[i, s] = prefactors[s] * (2 / both) * series
            near += (p > SERIES_LIMIT) | (both < length + 2 * largest * limits[s])
        if near:
            for s in range(n_sites):
                both = from_start[s] + from_end[s]
                q = length / both
                if both < max(length + 2 * largest * limits[s], NEARLY_ON * length):
                    dx, dy, dz = _moved_out(sites[:, s], ax, ay, az, bx, by, bz, limits[s])
                    dx, dy, dz = dx * scale[0], dy * scale[1], dz * scale[2]
                    beyond = _detour(dx, dy, dz, ex, ey, ez, length)
                    out[i, s] = prefactors[s] * math.log1p(2 * length / beyond) / length
                elif q * q > SERIES_LIMIT:
                    out[i, s] = prefactors[s] * math.log1p(2 * length / (both - length)) / length


@_compiled
def weighted_sums(
    values: np.ndarray, offsets: np.ndarray, weights: np.ndarray, columns: np.ndarray, out: np.ndarray
) -> None:
    """Write the weighted sums of sites into the columns of electrodes, always in the order of the sites.

    Parameters
    ----------
    values : (C, S) potentials at sites
    offsets : (G+1,) electrode g has the sites offsets[g] .. offsets[g+1]
    weights : (S,) of the sites
    columns : (G,) of `out`
    out : (C, E), written
    """
    for i in range(values.shape[0]):
        for g in range(len(columns)):
            total = 0.0
            for s in range(offsets[g], offsets[g + 1]):
                total += weights[s] * values[i, s]
            out[i, columns[g]] = total


@_compiled
def _detour(dx: float, dy: float, dz: float, ex: float, ey: float, ez: float, length: float) -> float:
    """Return d1 + d2 - L of a site at d and a segment from 0 to e, without cancellation where the site is next to it."""
    tx, ty, tz = ex / length, ey / length, ez / length
    along = dx * tx + dy * ty + dz * tz
    rest = length - along
    vx, vy, vz = dx - along * tx, dy - along * ty, dz - along * tz
    squared = vx * vx + vy * vy + vz * vz
    d1, d2 = math.sqrt(along * along + squared), math.sqrt(rest * rest + squared)
    first = squared / (d1 + along) if along > 0 else d1 - along
    second = squared / (d2 + rest) if rest > 0 else d2 - rest
    return first + second


@_compiled
def _moved_out(
    site: np.ndarray,
    ax: float,
    ay: float,
    az: float,
    bx: float,
    by: float,
    bz: float,
    limit: float,
) -> tuple[float, float, float]:
    """Return where a site is from the start of a segment; one that is nearer to it than `limit` is moved away from its axis."""
    vx, vy, vz = site[0] - ax, site[1] - ay, site[2] - az
    tx, ty, tz = bx - ax, by - ay, bz - az
    length = math.sqrt(tx * tx + ty * ty + tz * tz)
    along = 0.0
    if length > 0:
        tx, ty, tz = tx / length, ty / length, tz / length
        along = vx * tx + vy * ty + vz * tz
        vx, vy, vz = vx - along * tx, vy - along * ty, vz - along * tz
        left = vx * tx + vy * ty + vz * tz  # along the axis, by rounding
        vx, vy, vz = vx - left * tx, vy - left * ty, vz - left * tz
    beyond = max(-along, along - length, 0.0)
    across = math.sqrt(vx * vx + vy * vy + vz * vz)
    if not beyond * beyond + across * across < limit * limit:
        return site[0] - ax, site[1] - ay, site[2] - az
    if across <= NO_DIRECTION * (abs(along) + length + limit):  # on the axis: to any side, always the same
        if length == 0 or abs(tx) < 0.6:
            vx, vy, vz = 1 - tx * tx * (length > 0), -tx * ty * (length > 0), -tx * tz * (length > 0)
        else:
            vx, vy, vz = -ty * tx, 1 - ty * ty, -ty * tz
        across = math.sqrt(vx * vx + vy * vy + vz * vz)
    factor = math.sqrt(limit * limit - beyond * beyond) / across
    return along * tx + vx * factor, along * ty + vy * factor, along * tz + vz * factor
