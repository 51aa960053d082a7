//! What `deploy/` and `docker-compose.yml` configure can be configured: an unknown or a wrong setting would keep the
//! server from starting. And what keeps Jeton in bounds there stays there. No image is built for that.

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

// === What keeps Jeton in bounds ===

/// The lines of a file that say something, without the white space around them.
fn said(file: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn expect(file: &str, said: &[String], lines: &[&str]) {
    for line in lines {
        assert!(said.iter().any(|other| other == line), "{file} does not say: {line}");
    }
}

#[test]
fn the_image_runs_as_nobody_in_particular() {
    let lines = said("Dockerfile");
    // What stands in the last stage counts.
    let stage = lines.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let users: Vec<_> = lines[stage..].iter().filter(|line| line.starts_with("USER ")).collect();
    assert_eq!(users, ["USER 65532:65532"]);
    expect(
        "Dockerfile",
        &lines,
        &["ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot", "FROM ${BASE_IMAGE}"],
    );
}

#[test]
fn pods_have_no_rights_and_write_nowhere_else() {
    let file = "deploy/kubernetes/base/deployment.yaml";
    let lines = said(file);
    let bounds = [
        "runAsNonRoot: true",
        "runAsUser: 65532",
        "seccompProfile: {type: RuntimeDefault}",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "capabilities: {drop: [ALL]}",
        "automountServiceAccountToken: false",
    ];
    expect(file, &lines, &bounds);
    let capabilities = lines.iter().filter(|line| line.contains("capabilities:")).count();
    assert_eq!(capabilities, 1, "another container, or more rights");
    // The secrets cannot be written either, and what is mounted else is the data directory.
    let mounts: Vec<_> = lines.iter().filter(|line| line.contains("mountPath:")).collect();
    let writable: Vec<_> = mounts.iter().filter(|line| !line.contains("readOnly: true")).collect();
    assert_eq!((mounts.len(), writable), (3, vec![&&"- {name: data, mountPath: /var/lib/jeton}".to_owned()]));
    let account = "deploy/kubernetes/base/service-account.yaml";
    expect(account, &said(account), &["automountServiceAccountToken: false"]);
    // The cluster itself refuses what asks for more.
    let namespace = "deploy/kubernetes/overlays/example/namespace.yaml";
    expect(namespace, &said(namespace), &["pod-security.kubernetes.io/enforce: restricted"]);
    for patched in ["overlays/example", "components/spool-on-claims", "components/service-monitor"] {
        let text = said(&format!("deploy/kubernetes/{patched}/kustomization.yaml")).join("\n");
        assert!(
            !text.contains("securityContext") && !text.contains("capabilities"),
            "{patched} changes them"
        );
    }
}

#[test]
fn composed_it_has_no_rights_and_a_database_that_nobody_else_reaches() {
    let file = "docker-compose.yml";
    let lines = said(file);
    // The last of the name: the one before is what another waits for.
    let place = |name: &str| lines.iter().rposition(|line| line == name).unwrap();
    let (jeton, postgres) = (place("jeton:"), place("postgres:"));
    let bounds = ["read_only: true", "cap_drop: [ALL]", r#"security_opt: ["no-new-privileges:true"]"#];
    expect(file, &lines[jeton..postgres], &bounds);
    expect(file, &lines[jeton..postgres], &["- 127.0.0.1:8080:8080"]);
    let of_postgres = [r#"security_opt: ["no-new-privileges:true"]"#, "networks: [database]"];
    expect(file, &lines[postgres..], &of_postgres);
    expect(file, &lines, &["internal: true"]);
    for more in ["cap_add", "privileged", "network_mode", "pid: host", "ports:"] {
        let found: Vec<_> = lines.iter().filter(|line| line.starts_with(more)).collect();
        assert_eq!(found.len(), usize::from(more == "ports:"), "{found:?}");
    }
}

#[test]
fn the_unit_is_in_a_sandbox() {
    let file = "deploy/systemd/jeton.service";
    let lines = said(file);
    let bounds = "User=jeton StateDirectoryMode=0700 UMask=0077 LimitCORE=0 ProtectSystem=strict ProtectHome=yes \
        PrivateTmp=yes PrivateDevices=yes PrivateMounts=yes ProtectProc=invisible ProcSubset=pid NoExecPaths=/ \
        CapabilityBoundingSet= AmbientCapabilities= NoNewPrivileges=yes PrivateUsers=yes RestrictSUIDSGID=yes \
        RestrictNamespaces=yes RestrictRealtime=yes LockPersonality=yes MemoryDenyWriteExecute=yes RemoveIPC=yes \
        KeyringMode=private ProtectClock=yes ProtectControlGroups=yes ProtectHostname=yes ProtectKernelLogs=yes \
        ProtectKernelModules=yes ProtectKernelTunables=yes SystemCallArchitectures=native \
        SystemCallFilter=@system-service SystemCallErrorNumber=EPERM";
    expect(file, &lines, &bounds.split_whitespace().collect::<Vec<_>>());
    let of_several_words = [
        "SystemCallFilter=~@privileged @resources",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "ExecPaths=/usr/local/bin/jeton -/lib -/lib64 -/usr/lib -/usr/lib64 -/bin/kill -/usr/bin/kill",
    ];
    expect(file, &lines, &of_several_words);
    // A later line of the same name would undo one: each is there once, but for what is a list.
    let mut names: Vec<_> = lines.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert_eq!(twice, ["LoadCredential", "SystemCallFilter"]);
    // And so would the drop-in.
    assert_eq!(said("deploy/systemd/sqlite.conf"), ["[Service]", "LoadCredential="]);
}

#[test]
fn a_release_says_what_is_in_it() {
    let file = "scripts/release";
    let lines = said(file);
    let steps = [
        r#"cargo cyclonedx -q --format json --spec-version 1.5 --target "$target" --override-filename "$sbom""#,
        r#"sed "s#path+file://$PWD#path+file:///jeton#g" "$sbom.json" >"dist/$sbom.json""#,
        r#"cp LICENSE CHANGELOG.md SECURITY.md "dist/$sbom.json" "dist/$name/""#,
        "sha256sum ./*.tar.gz ./*.cdx.json >SHA256SUMS",
        "set -euo pipefail",
    ];
    expect(file, &lines, &steps);
}
