"""VAEs as scikit-learn estimators: features, anomaly scores and imputation of tables.

They need scikit-learn 1.6 or newer: ``pip install 'elboroom[sklearn]'``. ``import elboroom`` does not import
this package, nor scikit-learn.
"""

from elboroom.sklearn.anomaly import VAEAnomalyDetector as VAEAnomalyDetector
from elboroom.sklearn.imputer import VAEImputer as VAEImputer
from elboroom.sklearn.transformer import VAETransformer as VAETransformer

__all__ = ["VAEAnomalyDetector", "VAEImputer", "VAETransformer"]
