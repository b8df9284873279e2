"""Statistics of a model: what its logits, gradients and weights look like, and how accuracy falls with epsilon.

Every function takes a model and images, asks in batches and float32, and returns arrays; what stands behind it turns
them into `Chart` or `Pictures` of `tfadv.report`, mostly for several models under their names.

| question | function | drawn by |
|---|---|---|
| how far is another class, to first order | `linearized` | `steps_chart` |
| does that predict the accuracy under FGSM | `predicted_accuracy` | its `.charts()` |
| logit gap, gradient gap, coherence | `gaps` | `gap_charts` |
| how large are the logits | `logits` | `logit_chart` |
| how many units are active | `activations` | `activation_chart` |
| accuracy at every epsilon | `accuracy_curve` | `accuracy_chart` |
| does the attack climb | `loss_path` | `loss_charts` |
| which class is where | `decision_slices`, `decision_map` | their `.charts()` |
| what do the weights look for | `first_weights`, `perturbations` | themselves |

The simulated models of the papers stand in modules of their own: `logistic` (Newton's method for many samples at once,
with smoothing, squeezing and decay), `logistic_samples`, `logistic_theory`, and `gaussian_linear` (closed forms).
"""

from tfadv.analysis.accuracy_curve import AccuracyCurve as AccuracyCurve
from tfadv.analysis.accuracy_curve import accuracy_chart as accuracy_chart
from tfadv.analysis.accuracy_curve import accuracy_curve as accuracy_curve
from tfadv.analysis.activations import Activations as Activations
from tfadv.analysis.activations import activation_chart as activation_chart
from tfadv.analysis.activations import activations as activations
from tfadv.analysis.activations import logit_chart as logit_chart
from tfadv.analysis.activations import logits as logits
from tfadv.analysis.decision import Decisions as Decisions
from tfadv.analysis.decision import decision_map as decision_map
from tfadv.analysis.decision import decision_slices as decision_slices
from tfadv.analysis.gaps import Gaps as Gaps
from tfadv.analysis.gaps import gap_charts as gap_charts
from tfadv.analysis.gaps import gaps as gaps
from tfadv.analysis.linearized import LinearizedRobustness as LinearizedRobustness
from tfadv.analysis.linearized import PredictedAccuracy as PredictedAccuracy
from tfadv.analysis.linearized import linearized as linearized
from tfadv.analysis.linearized import predicted_accuracy as predicted_accuracy
from tfadv.analysis.linearized import steps_chart as steps_chart
from tfadv.analysis.loss_path import LossPath as LossPath
from tfadv.analysis.loss_path import loss_charts as loss_charts
from tfadv.analysis.loss_path import loss_path as loss_path
from tfadv.analysis.pictures import first_weights as first_weights
from tfadv.analysis.pictures import perturbations as perturbations
