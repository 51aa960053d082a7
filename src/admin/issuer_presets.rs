//! Use-case: what is known about the tokens of platforms, for whoever registers them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Admin, AdminError, By};
use crate::domain::builtin;
use crate::domain::presets::{PRESETS, Parameter, Platform, Preset, UsualKeys};
use crate::domain::trust::{IssuerProfile, Reuse};

/// What a platform's issuer is usually registered with, and what names a workload there. A suggestion.
#[derive(Debug, Serialize, ToSchema)]
pub struct PresetView {
    /// Which platform.
    pub platform: Platform,
    /// Its name, for people.
    #[schema(example = "GitHub Actions")]
    pub title: &'static str,
    /// What its tokens are.
    pub profile: IssuerProfile,
    /// Its issuer, where there is one for all.
    #[schema(required = true, example = "https://token.actions.githubusercontent.com")]
    pub issuer: Option<&'static str>,
    /// An issuer as it may look.
    #[schema(example = "https://token.actions.githubusercontent.com")]
    pub issuer_example: &'static str,
    /// Where its keys usually are.
    pub keys: UsualKeys,
    /// The most seconds that its tokens live.
    #[schema(example = 3600)]
    pub max_lifetime: u32,
    /// Whether its tokens are presented again.
    pub reuse: Reuse,
    /// How a workload gets a token for us there.
    #[schema(example = "The job asks for a token with our issuer as its audience.")]
    pub about: &'static str,
    /// What names a workload.
    pub parameters: Vec<ParameterView>,
}

/// Something that names a workload: `jeton clients federation add` takes it as `--NAME`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParameterView {
    /// Its name.
    #[schema(example = "repository")]
    pub name: &'static str,
    /// What it is.
    #[schema(example = "Owner and name of the repository")]
    pub about: &'static str,
    /// How it may look.
    #[schema(example = "octo-org/octo-repo")]
    pub example: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it is when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<&'static str>,
}

impl From<&Parameter> for ParameterView {
    fn from(parameter: &Parameter) -> Self {
        let Parameter { name, about, example, required, default, .. } = *parameter;
        Self { name, about, example, required, default }
    }
}

impl From<&Preset> for PresetView {
    fn from(preset: &Preset) -> Self {
        Self {
            platform: preset.platform,
            title: preset.title,
            profile: preset.profile,
            issuer: preset.issuer,
            issuer_example: preset.issuer_example,
            keys: preset.keys,
            max_lifetime: preset.max_lifetime,
            reuse: preset.reuse,
            about: preset.about,
            parameters: preset.parameters.iter().map(Into::into).collect(),
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Every preset.
    ///
    /// # Errors
    /// `trusted-issuers:read` is missing.
    pub async fn issuer_presets(&self, by: &By) -> Result<Vec<PresetView>, AdminError> {
        self.require(by, builtin::TRUSTED_ISSUERS_READ).await?;
        Ok(PRESETS.iter().map(Into::into).collect())
    }
}
