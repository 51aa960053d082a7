//! What `deploy/` and `docker-compose.yml` configure can be configured: an unknown or a wrong setting would keep the
//! server from starting.

use std::fs;
use std::path::Path;

use jeton::config::Config;

/// Lines that set something in the environment, without what stands before the name: `JETON_LISTEN=…`, `JETON_LISTEN: …`.
fn settings(file: &str, begins: &str, separator: char) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix(begins)?.split_once(separator));
    let settings: Vec<_> = lines
        .filter(|(name, _)| name.starts_with("JETON_"))
        .map(|(name, value)| (name.to_owned(), value.trim().trim_matches('"').to_owned()))
        .collect();
    assert!(settings.len() >= 3, "{file}: {settings:?}");
    settings
}

fn usable(what: &str, file: Option<&Path>, environment: Vec<(String, String)>) {
    if let Err(error) = Config::load(file, environment) {
        panic!("{what}: {error}");
    }
}

#[test]
fn kubernetes_settings_are_settings() {
    let mut environment = settings("deploy/kubernetes/base/kustomization.yaml", "- ", '=');
    environment.extend(settings("deploy/kubernetes/overlays/example/kustomization.yaml", "- ", '='));
    usable("deploy/kubernetes", None, environment);
}

#[test]
fn the_file_of_the_unit_is_a_configuration() {
    usable("deploy/systemd", Some(Path::new("deploy/systemd/jeton.toml")), Vec::new());
}

#[test]
fn compose_settings_are_settings() {
    let environment = settings("docker-compose.yml", "", ':').into_iter().map(|(name, value)| {
        // What stands for a variable of the shell that is not set.
        let plain = value.strip_prefix("${JETON_ISSUER:-").and_then(|rest| rest.strip_suffix('}'));
        (name, plain.unwrap_or(&value).to_owned())
    });
    usable("docker-compose.yml", None, environment.collect());
}

#[test]
fn the_unit_is_started_again_unless_that_cannot_help() {
    let unit = fs::read_to_string("deploy/systemd/jeton.service").unwrap();
    for line in ["Restart=on-failure", "RestartPreventExitStatus=78"] {
        assert!(unit.lines().any(|written| written == line), "{line}");
    }
}
