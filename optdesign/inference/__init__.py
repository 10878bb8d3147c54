"""What a design buys: power, sample size and interval width of Wald inference, one file per question."""

from optdesign.inference.attainable import AttainablePower, attainable_power
from optdesign.inference.curves import power_curve
from optdesign.inference.freedom import degrees_of_freedom
from optdesign.inference.hypotheses import JointTest, Test, WaldTest
from optdesign.inference.intervals import interval_width
from optdesign.inference.plan import power, variance_needed
from optdesign.inference.sizes import SampleSize, sample_size, smallest_count

__all__ = [
    "AttainablePower",
    "JointTest",
    "SampleSize",
    "Test",
    "WaldTest",
    "attainable_power",
    "degrees_of_freedom",
    "interval_width",
    "power",
    "power_curve",
    "sample_size",
    "smallest_count",
    "variance_needed",
]
