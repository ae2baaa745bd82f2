"""Behaviour, intervals, LFP and templates of the stand-in project and of a plain file, against golden and h5py."""

import csv
import importlib.util
import json
import re
import sys

import h5py
import numpy as np
import pytest

from ephysflow.ecephys.behaviour import read_optogenetic_stimulation, read_raw_running, read_running_speed
from ephysflow.ecephys.eye_tracking import read_eye_tracking, read_eye_tracking_rig
from ephysflow.ecephys.intervals import interval_tables, read_epochs, read_intervals, read_invalid_times
from ephysflow.ecephys.lfp import LfpFile, find_lfp
from ephysflow.ecephys.session_file import SessionFile
from ephysflow.ecephys.structure_intervals import channel_structure_intervals, structure_intervals_table
from ephysflow.ecephys.templates import read_movie, read_scene
