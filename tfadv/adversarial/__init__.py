"""Training methods that need an attack, as `keras.Model` wrappers for compile and fit; one per file."""

from tfadv.adversarial.averaging import KeepTrainingWeights as KeepTrainingWeights
from tfadv.adversarial.averaging import StochasticWeightAverage as StochasticWeightAverage
from tfadv.adversarial.averaging import refresh_batch_statistics as refresh_batch_statistics
from tfadv.adversarial.averaging import use_moving_average as use_moving_average
from tfadv.adversarial.avmixup import AVmixup as AVmixup
from tfadv.adversarial.awp import WeightPerturbation as WeightPerturbation
from tfadv.adversarial.base import AdversarialMethod as AdversarialMethod
from tfadv.adversarial.base import AdversarialModel as AdversarialModel
from tfadv.adversarial.base import AdversarialWrapper as AdversarialWrapper
from tfadv.adversarial.base import Criterion as Criterion
from tfadv.adversarial.fast import StopOnCatastrophicOverfitting as StopOnCatastrophicOverfitting
from tfadv.adversarial.fast import fast_attack as fast_attack
from tfadv.adversarial.feature_scatter import FeatureScatter as FeatureScatter
from tfadv.adversarial.logit_pairing import AdversarialLogitPairing as AdversarialLogitPairing
from tfadv.adversarial.madry import AdversarialTraining as AdversarialTraining
from tfadv.adversarial.mart import Mart as Mart
from tfadv.adversarial.natural import NaturalTraining as NaturalTraining
from tfadv.adversarial.trades import Trades as Trades
from tfadv.adversarial.transport import sinkhorn as sinkhorn

# What `Experiment.method` names: training methods around a classifier.
METHODS: dict[str, type[AdversarialMethod]] = {
    "logit_pairing": AdversarialLogitPairing,
    "feature_scatter": FeatureScatter,
    "madry": AdversarialTraining,
    "mart": Mart,
    "trades": Trades,
}
# And what goes around one of them and changes it.
WRAPPERS: dict[str, type[AdversarialWrapper]] = {"avmixup": AVmixup, "awp": WeightPerturbation}
