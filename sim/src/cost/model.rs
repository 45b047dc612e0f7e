//! The cost models that a machine can be built with, as one closed choice.

use units::Nanos;

use std::sync::Arc;

use super::{
    BatchShape, ClosedForm, Crowd, Floors, Host, Outside, Profile, Reach, Roofline, StepCost,
    StepLimits,
};

/// One of the cost models.
#[derive(Clone, Debug)]
pub enum CostModel {
    /// Closed forms with coefficients fitted to measured tables.
    ClosedForm(ClosedForm),
    /// Measured kernel tables.
    Profile(Arc<Profile>),
    /// Data sheets alone.
    Roofline(Roofline),
}

impl CostModel {
    fn inner(&self) -> &dyn StepCost {
        match self {
            Self::ClosedForm(model) => model,
            Self::Profile(model) => &**model,
            Self::Roofline(model) => model,
        }
    }

    /// Its name on the command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ClosedForm(_) => "closed-form",
            Self::Profile(_) => "profile",
            Self::Roofline(_) => "roofline",
        }
    }

    /// The closed form, if it is one.
    pub const fn closed_form(&self) -> Option<&ClosedForm> {
        match self {
            Self::ClosedForm(model) => Some(model),
            Self::Profile(_) | Self::Roofline(_) => None,
        }
    }

    /// The host overhead it adds.
    pub fn host(&self) -> Host {
        match self {
            Self::ClosedForm(model) => model.host(),
            Self::Profile(model) => model.host(),
            Self::Roofline(model) => model.host(),
        }
    }

    /// The same with another host overhead.
    pub fn with_host(self, host: Host) -> Self {
        match self {
            Self::ClosedForm(model) => Self::ClosedForm(model.with_host(host)),
            Self::Profile(model) => Self::Profile(Arc::new((*model).clone().with_host(host))),
            Self::Roofline(model) => Self::Roofline(model.with_host(host)),
        }
    }
}

impl StepCost for CostModel {
    fn step(&self, shape: &BatchShape) -> Nanos {
        self.step_in(shape, Crowd::NONE)
    }

    fn step_in(&self, shape: &BatchShape, crowd: Crowd) -> Nanos {
        self.inner().step_in(shape, crowd)
    }

    fn floors(&self, limits: StepLimits) -> Option<Floors> {
        self.inner().floors(limits)
    }

    fn reach(&self) -> Reach {
        self.inner().reach()
    }

    fn outside(&self, shape: &BatchShape) -> Option<Outside> {
        self.inner().outside(shape)
    }
}
