use serde_json::Value;

use super::*;
use crate::jose::Object;

/// Tokens as the platforms document them.
const TOKENS: &str = include_str!("../../tests/platforms/tokens.json");

fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn written(platform: Platform, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let conditions = preset(platform).conditions(&given(pairs)).unwrap();
    let pair =
        |condition: &Condition| (condition.claim.as_str().to_owned(), condition.value.as_str().to_owned());
    conditions.iter().map(pair).collect()
}

#[test]
fn each_platform_has_its_preset() {
    assert_eq!(PRESETS.len(), Platform::ALL.len());
    for platform in Platform::ALL {
        assert_eq!(preset(*platform).platform, *platform);
    }
}

#[test]
fn the_examples_of_a_preset_are_conditions_and_each_parameter_has_a_place() {
    for preset in PRESETS {
        let examples: Vec<_> =
            preset.parameters.iter().map(|parameter| (parameter.name, parameter.example)).collect();
        let conditions = preset.conditions(&given(&examples)).unwrap();
        let all = preset.claims.iter().map(|(_, template)| *template).collect::<String>();
        for parameter in preset.parameters {
            assert!(
                all.contains(&format!("{{{}}}", parameter.name)),
                "{}: {}",
                preset.platform,
                parameter.name
            );
        }
        assert!(conditions.iter().any(|condition| condition.value.is_exact()), "{}", preset.platform);
    }
}

#[test]
fn what_was_given_becomes_conditions_and_nothing_else() {
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(claim, value)| ((*claim).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(
        written(Platform::Github, &[("repository", "o/r"), ("environment", "prod")]),
        of(&[("environment", "prod"), ("repository", "o/r")])
    );
    assert_eq!(
        written(Platform::Kubernetes, &[("namespace", "shop"), ("service-account", "orders")]),
        of(&[("sub", "system:serviceaccount:shop:orders")])
    );
    assert_eq!(
        written(Platform::Gitlab, &[("project", "g/p"), ("tag", "v*")]),
        of(&[("project_path", "g/p"), ("ref", "v*"), ("ref_protected", "true"), ("ref_type", "tag")])
    );
    assert_eq!(
        written(Platform::Aws, &[("role", "arn:aws:iam::1:role/x"), ("account", "1")]),
        of(&[("/https:~1~1sts.amazonaws.com~1/aws_account", "1"), ("sub", "arn:aws:iam::1:role/x")])
    );
}

#[test]
fn all_that_is_wrong_with_parameters_is_named() {
    let errors = preset(Platform::Github).conditions(&given(&[("namespace", "x"), ("ref", "")])).unwrap_err();
    let mut fields: Vec<&str> = errors.iter().map(|error| &*error.field).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["namespace", "ref", "repository"]);
}

#[test]
fn a_path_without_its_owner_or_group_is_refused() {
    let wrong = |platform, name: &str, value: &str| {
        let outcome = preset(platform).conditions(&given(&[(name, value)]));
        outcome.err().map(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    for value in ["octo-repo", "/octo-repo", "octo-org/", "https://github.com/octo-org/octo-repo", "a/b/c"] {
        let told = wrong(Platform::Github, "repository", value).unwrap();
        assert!(told.contains("write owner/name, for example octo-org/octo-repo"), "{value}: {told}");
    }
    for value in ["my-project", "g//p", "https://gitlab.com/g/p"] {
        let told = wrong(Platform::Gitlab, "project", value).unwrap();
        assert!(told.contains("write group/project, for example my-group/my-project"), "{value}: {told}");
    }
    for value in ["octo-org/octo-repo", "octo-org/*", "*-repo"] {
        assert_eq!(wrong(Platform::Github, "repository", value), None, "{value}");
    }
    for value in ["g/p", "g/h/p", "g/*"] {
        assert_eq!(wrong(Platform::Gitlab, "project", value), None, "{value}");
    }
}

#[test]
fn the_conditions_of_a_preset_mean_the_documented_token_and_not_that_of_another() {
    let tokens: Vec<Value> = serde_json::from_str(TOKENS).unwrap();
    assert_eq!(tokens.len(), PRESETS.len());
    for token in tokens {
        let platform = Platform::from_word(token["platform"].as_str().unwrap()).unwrap();
        let given: BTreeMap<String, String> = serde_json::from_value(token["given"].clone()).unwrap();
        let conditions = preset(platform).conditions(&given).unwrap();
        let read = |claims: &Value| Object::parse(claims.to_string().as_bytes()).unwrap();
        assert!(conditions.hold(&read(&token["claims"])), "{platform}");
        let mut others = token["claims"].clone();
        for (name, value) in token["other"].as_object().unwrap() {
            others[name] = value.clone();
        }
        assert!(!conditions.hold(&read(&others)), "{platform}");
        let lifetime = token["lifetime"].as_u64().unwrap();
        assert!(lifetime <= preset(platform).max_lifetime.into(), "{platform}");
        let named = token["claims"].get("jti").is_some();
        assert!(named || preset(platform).reuse != Reuse::Once, "{platform}: it has no jti");
        if let Some(issuer) = preset(platform).issuer {
            assert_eq!(token["claims"]["iss"], issuer);
        }
    }
}
