//! Options for loading a localizer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lesio_nn::{Device, ParameterSet, Precision};
use lesio_settings::SettingError;
use serde_json::Value;

use crate::model::{Model, OwnModel};
use crate::own_name::OwnName;
use crate::predictor::Predictor;
use crate::predictors::PredictorName;

/// Why a function of the caller could not make a model or a predictor.
pub type OwnError = Box<dyn std::error::Error + Send + Sync>;

type MakeModel = dyn Fn(&ParameterSet, &Value, &Device) -> Result<OwnModel, OwnError> + Send + Sync;
type MakePredictor = dyn Fn(&Model) -> Result<Arc<dyn Predictor>, OwnError> + Send + Sync;

/// Options for loading a localizer: its device, and functions that make user-defined models and predictors.
#[derive(Clone, Default)]
pub struct Loading {
    device: Device,
    precision: Option<Precision>,
    models: BTreeMap<String, Arc<MakeModel>>,
    predictors: BTreeMap<OwnName, Arc<MakePredictor>>,
}

impl fmt::Debug for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loading")
            .field("device", &self.device)
            .field("models", &self.models.keys())
            .field("predictors", &self.predictors.keys())
            .finish()
    }
}

impl Loading {
    /// Options for built-in models and predictors only, on a device.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), ..Self::default() }
    }

    /// Loads in another precision than that of the file, see
    /// [`Localizer::with_precision`](crate::Localizer::with_precision). Only [`Device::Cpu`] computes in
    /// [`Precision::Bfloat16`]: no file can be loaded with it on another device.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = Some(precision);
        self
    }

    /// Registers a function that makes the model of a name from the saved parameters and configuration.
    #[must_use]
    pub fn model(
        mut self,
        name: impl Into<String>,
        make: impl Fn(&ParameterSet, &Value, &Device) -> Result<OwnModel, OwnError> + Send + Sync + 'static,
    ) -> Self {
        self.models.insert(name.into(), Arc::new(make));
        self
    }

    /// Registers a function that makes the predictor of a name for the localizer's model. A file is not loaded if the
    /// predictor has another name.
    ///
    /// # Errors
    /// [`SettingError`] as [`PredictorName::own`].
    pub fn predictor(
        mut self,
        name: &str,
        make: impl Fn(&Model) -> Result<Arc<dyn Predictor>, OwnError> + Send + Sync + 'static,
    ) -> Result<Self, SettingError> {
        if let PredictorName::Own(name) = PredictorName::own(name)? {
            self.predictors.insert(name, Arc::new(make));
        }
        Ok(self)
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns an error for a precision that the device does not compute in, whatever the file holds.
    pub(crate) fn check_precision(&self) -> Result<(), SettingError> {
        match self.precision {
            Some(precision @ Precision::Bfloat16) if !self.device.is_exact() => Err(SettingError {
                setting: "precision".to_owned(),
                found: precision.to_string(),
                expected: format!("single on the device {}", self.device),
            }),
            _ => Ok(()),
        }
    }

    /// The precision, if it replaces that of the file.
    pub(crate) fn chosen_precision(&self) -> Option<Precision> {
        self.precision
    }

    /// The function for a model's name.
    pub(crate) fn model_maker(&self, name: &str) -> Option<&MakeModel> {
        self.models.get(name).map(|make| &**make)
    }

    /// The functions for predictors.
    pub(crate) fn predictor_makers(&self) -> impl Iterator<Item = (OwnName, &MakePredictor)> {
        self.predictors.iter().map(|(name, make)| (*name, &**make))
    }
}
