"""What a design buys: power, sample size and interval width of Wald inference, one file per question."""

from optdesign.inference.attainable import AttainablePower, attainable_power
from optdesign.inference.curves import power_curve, power_surface
from optdesign.inference.detectable import minimum_detectable_effect
from optdesign.inference.freedom import Freedom, degrees_of_freedom
from optdesign.inference.hypotheses import JointTest, Test, WaldTest
from optdesign.inference.intervals import interval_width
from optdesign.inference.losses import WeibullDropout, with_dropout, with_unequal_sizes
from optdesign.inference.plan import Plan, power, power_at, variance_needed
from optdesign.inference.sizes import SampleSize, sample_size, smallest_count
from optdesign.inference.uncertainty import assurance
from optdesign.inference.variance_ratio import inflation

__all__ = [
    "AttainablePower",
    "Freedom",
    "JointTest",
    "Plan",
    "SampleSize",
    "Test",
    "WaldTest",
    "WeibullDropout",
    "assurance",
    "attainable_power",
    "degrees_of_freedom",
    "inflation",
    "interval_width",
    "minimum_detectable_effect",
    "power",
    "power_at",
    "power_curve",
    "power_surface",
    "sample_size",
    "smallest_count",
    "variance_needed",
    "with_dropout",
    "with_unequal_sizes",
]
