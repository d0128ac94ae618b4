"""What is wrong with a run or with data, in plain words, with the evidence and one change that mends it."""

from elboroom.doctor.chart import Chart, chart_of
from elboroom.doctor.data_diagnosis import DATA_DISEASES, examine_data
from elboroom.doctor.diagnosis import DISEASES, Diagnosis, Disease, examine, examine_chart
from elboroom.doctor.finding import Finding

__all__ = [
    "DATA_DISEASES",
    "DISEASES",
    "Chart",
    "Diagnosis",
    "Disease",
    "Finding",
    "chart_of",
    "examine",
    "examine_chart",
    "examine_data",
]
