"""Stage ecephys: project tables and session files of Neuropixels recordings."""
