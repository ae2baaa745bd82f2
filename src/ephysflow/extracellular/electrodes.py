"""Electrodes: columns of the weights file, each with its method and all that the method needs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Slice:
    """A slice of tissue between two planes normal to z, for the method of images.

    Attributes
    ----------
    bottom, top : z of the planes [um]
    sigma_below, sigma_above : conductivities outside, e.g. of glass (0) and saline [S/m]
    images : number of pairs of reflections that are summed
    """

    bottom: float
    top: float
    sigma_below: float
    sigma_above: float
    images: int


@dataclass(frozen=True)
class Electrode:
    """One electrode.

    Attributes
    ----------
    name : unique in its file
    array : array of the configuration that it belongs to
    position : x, y, z [um]
    layer, region : where it is; "NA" where unknown
    type : as given, e.g. ``ObjectiveCSD_Disk_150_40``
    method : PointSource, LineSource, Reciprocity, DipoleReciprocity, or of ObjectiveCSD Sphere, Disk, Plane
    sigma : conductivity along x, y, z [S/m]; PointSource and LineSource only
    minimum_distance : contacts are never nearer to a compartment [um]; None for the compartment's radius
    cutoff : coefficients of compartments farther away are 0 [um]; None for no limit
    contact_radius, contact_normal, contact_points : of a round contact [um], the direction that it looks in, and the
        number of sites on it; a radius of None is a point
    slice : for the method of images; None for an infinite medium
    field, field_unit : file and its unit; (Dipole)Reciprocity only
    outside_field : ``refuse`` or ``nan``, for compartments outside the field's grid
    radius, thickness : of an ObjectiveCSD region [um]; a thickness of None is the spacing of the array
    csd_array : electrodes with the same one give the axis and the spacing
    reference : electrodes whose mean coefficient is subtracted
    """

    name: str
    array: str
    position: tuple[float, float, float]
    layer: str
    region: str
    type: str
    method: str
    sigma: tuple[float, float, float] | None = None
    minimum_distance: float | None = None
    cutoff: float | None = None
    contact_radius: float | None = None
    contact_normal: tuple[float, float, float] | None = None
    contact_points: int = 1
    slice: Slice | None = None
    field: str | None = None
    field_unit: str | None = None
    outside_field: str = "refuse"
    radius: float | None = None
    thickness: float | None = None
    csd_array: str | None = None
    reference: tuple[str, ...] = ()

    @property
    def has_unit(self) -> bool:
        """Whether its coefficients are potentials; those of ObjectiveCSD are 0 or 1."""
        return self.csd_array is None
