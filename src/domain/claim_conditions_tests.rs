use proptest::prelude::*;
use serde_json::json;

use super::*;

fn claims(json: &Value) -> Object {
    Object::parse(json.to_string().as_bytes()).unwrap()
}

fn conditions(pairs: &[(&str, &str)]) -> Result<Conditions, FieldError> {
    let condition = |(claim, value): &(&str, &str)| Condition {
        claim: ClaimPath::new(claim).unwrap(),
        value: Pattern::new(value).unwrap(),
    };
    Conditions::new(pairs.iter().map(condition).collect())
}

fn fits(pattern: &str, text: &str) -> bool {
    Pattern::new(pattern).unwrap().fits(text)
}

#[test]
fn a_star_is_anchored_at_both_ends() {
    for (pattern, good) in [
        ("app:*", "app:web"),
        ("app:*", "app:"),
        ("*:prod", "a:prod"),
        ("a*b*c", "abc"),
        ("a*b*c", "a-bb-c"),
        ("*", ""),
        ("a*a", "aa"),
        ("a**b", "ab"),
        ("exact", "exact"),
    ] {
        assert!(fits(pattern, good), "{pattern} {good}");
    }
    for (pattern, bad) in [
        ("app:*", "app-evil"),
        ("app:*", "xapp:web"),
        ("*:prod", "a:prod2"),
        ("a*b*c", "acb"),
        ("a*a", "a"),
        ("ab*ba", "aba"),
        ("exact", "exact "),
        ("Exact", "exact"),
    ] {
        assert!(!fits(pattern, bad), "{pattern} {bad}");
    }
}

#[test]
fn a_claim_is_found_by_its_name_or_a_pointer_rfc6901() {
    let all = claims(&json!({
        "sub": "s", "kubernetes.io": {"namespace": "n", "a/b": {"~": [1, "two"]}}, "https://x/y": "z", "a": null,
    }));
    let found = |path: &str| ClaimPath::new(path).unwrap().find(&all).cloned();
    assert_eq!(found("sub"), Some(json!("s")));
    assert_eq!(found("/sub"), Some(json!("s")));
    assert_eq!(found("/kubernetes.io/namespace"), Some(json!("n")));
    assert_eq!(found("/kubernetes.io/a~1b/~0/1"), Some(json!("two")));
    assert_eq!(found("https://x/y"), Some(json!("z")));
    assert_eq!(found("/https:~1~1x~1y"), Some(json!("z")));
    for absent in ["kubernetes.io/namespace", "/kubernetes.io/none", "/sub/0", "Sub", "/"] {
        assert_eq!(found(absent), None, "{absent}");
    }
    for malformed in ["", "/a~", "/a~2", "a\tb"] {
        assert!(ClaimPath::new(malformed).is_err(), "{malformed}");
    }
}

#[test]
fn all_must_hold_and_what_is_absent_never_does() {
    let all = claims(
        &json!({"sub": "a", "groups": ["x", "y", 7], "n": 7, "b": true, "f": 1.5, "o": {}, "z": null}),
    );
    let hold = |pairs: &[(&str, &str)]| conditions(pairs).unwrap().hold(&all);
    assert!(hold(&[("sub", "a"), ("groups", "x"), ("groups", "7"), ("n", "7"), ("b", "true")]));
    for none in [("sub", "b"), ("groups", "z"), ("none", "a*"), ("f", "1.5"), ("o", "{*"), ("z", "null")] {
        assert!(!hold(&[("sub", "a"), none]), "{none:?}");
    }
    let differs = Condition { claim: ClaimPath::new("groups").unwrap(), value: Pattern::new("z").unwrap() };
    assert_eq!(differs.find(&all), Finding::Differs(vec!["x".into(), "y".into(), "7".into()]));
}

#[test]
fn what_matches_everybody_is_no_condition() {
    for none in [&[][..], &[("sub", "*")], &[("sub", "**"), ("a", "*x*")]] {
        assert!(conditions(none).is_err(), "{none:?}");
    }
    assert!(conditions(&[("sub", "*"), ("a", "x")]).is_ok());
    assert!(conditions(&[("email", "*@example.com")]).is_ok());
}

#[test]
fn a_shape_reads_back_and_lists_give_a_key_for_each_member() {
    let set = conditions(&[("sub", "a*"), ("groups", "x"), ("groups", "y")]).unwrap();
    let shape = Shape::from_text(&set.shape().to_text()).unwrap();
    assert_eq!(shape, set.shape());
    let keys = shape.keys(&claims(&json!({"sub": "abc", "groups": ["y", "x", "z", "x"]}))).unwrap();
    assert_eq!(keys.len(), 3, "not one for each pair");
    assert!(keys.contains(&set.match_key()));
    let groups = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(shape.keys(&claims(&json!({"groups": groups(50)}))).unwrap().len(), 50);
    let too_many = shape.keys(&claims(&json!({"groups": groups(51)}))).unwrap_err();
    assert_eq!(too_many.claim.as_str(), "groups");
    let with_app = conditions(&[("app", "a"), ("groups", "x")]).unwrap().shape();
    assert_eq!(
        with_app.keys(&claims(&json!({"groups": groups(51)}))),
        Ok(vec![]),
        "without app it finds nothing"
    );
}

/// PostgreSQL indexes shapes, and takes no entry of over 2,704 bytes.
#[test]
fn a_shape_stays_short_whatever_the_names_of_the_claims() {
    let name = |number: usize| format!("{}{number:02}", "\u{1F600}".repeat(198));
    let names: Vec<String> = (0..20).map(name).collect();
    let exact: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let mut ends = exact.clone();
    ends[0].1 = "beginning*";
    let quotes = "\"".repeat(200);
    for pairs in [&exact[..], &ends[..], &[(&quotes, "x"), ("sub", "a*")], &[(&names[0], "*end")]] {
        let set = conditions(pairs).unwrap();
        let length = set.shape().to_text().len();
        assert!((20..=LONGEST_SHAPE + 2).contains(&length), "{length}");
        let all = pairs.iter().map(|(claim, value)| ((*claim).to_owned(), json!(value)));
        let token = claims(&serde_json::Value::Object(all.collect()));
        assert_eq!(set.shape().keys(&token).unwrap(), [set.match_key()], "it is found all the same");
    }
}

#[test]
fn a_beginning_or_end_tells_sets_apart_and_lengths_make_few_shapes() {
    let shape = |pairs: &[(&str, &str)]| conditions(pairs).unwrap().shape();
    let key = |pairs: &[(&str, &str)]| conditions(pairs).unwrap().match_key();
    // Sets with one exact condition in common are found by what else they say.
    let of_repository = |name: &str| [("aud", "a".to_owned()), ("sub", format!("repo:{name}:*"))];
    let keys = ["octo/one", "octo/two"].map(|name| {
        let pairs = of_repository(name);
        key(&[("aud", &pairs[0].1), ("sub", &pairs[1].1)])
    });
    assert_ne!(keys[0], keys[1]);
    let shapes: std::collections::BTreeSet<_> =
        (1..500).map(|length| shape(&[("sub", &format!("{}*", "x".repeat(length)))])).collect();
    assert_eq!(shapes.len(), 3 + 15 + 28, "1 to 3, 4 to 60 by fours, 64 to 496 by sixteens");
    assert_eq!(shape(&[("aud", "a"), ("sub", "abc*")]), shape(&[("aud", "a")]), "too short to tell apart");
    assert_ne!(shape(&[("aud", "a"), ("sub", "*abcd")]), shape(&[("aud", "a")]));
}

fn value() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ab:é]{0,12}").unwrap()
}

fn pattern() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ab:é*]{1,5}").unwrap()
}

/// What some texts fit: most that are made up fit none.
fn made_of(text: &str, beginning: usize, end: usize) -> String {
    let end = text.ceil_char_boundary(text.len().saturating_sub(end));
    format!("{}*{}", &text[..text.floor_char_boundary(beginning).min(end)], &text[end..])
}

proptest! {
    /// The simplest way to say what a star is: try every split.
    #[test]
    fn a_pattern_fits_what_a_naive_match_fits((pattern, text) in (pattern(), value())) {
        fn naive(pattern: &[char], text: &[char]) -> bool {
            match pattern.split_first() {
                None => text.is_empty(),
                Some(('*', rest)) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
                Some((first, rest)) => text.first() == Some(first) && naive(rest, &text[1..]),
            }
        }
        let (letters, of): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
        prop_assert_eq!(fits(&pattern, &text), naive(&of, &letters));
    }

    /// Whatever holds is found: its key is among those that the claims give for its shape.
    #[test]
    fn a_set_that_holds_is_found_by_its_shape(
        wanted in proptest::collection::vec((0..3_usize, pattern()), 1..4),
        said in proptest::collection::vec(proptest::collection::vec(value(), 1..3), 3),
    ) {
        let names = ["sub", "a", "b"];
        let pairs: Vec<_> = wanted.iter().map(|(name, pattern)| (names[*name], pattern.as_str())).collect();
        let Ok(set) = conditions(&pairs) else { return Ok(()) };
        let all = claims(&json!({"sub": said[0], "a": said[1], "b": said[2]}));
        if set.hold(&all) {
            prop_assert!(set.shape().keys(&all).unwrap().contains(&set.match_key()));
        }
    }

    /// The same of beginnings and ends that are long.
    #[test]
    fn a_long_beginning_or_end_is_found_as_well(
        said in proptest::collection::vec(value(), 1..4),
        (beginning, end) in (0..30_usize, 0..30_usize),
        exact in proptest::bool::ANY,
    ) {
        let wanted = made_of(&said[0], beginning, end);
        let pairs = [("sub", wanted.as_str()), ("a", "x")];
        let Ok(set) = conditions(&pairs[..=usize::from(exact)]) else { return Ok(()) };
        let all = claims(&json!({"sub": said, "a": "x"}));
        prop_assert!(set.hold(&all), "{wanted}");
        prop_assert!(set.shape().keys(&all).unwrap().contains(&set.match_key()));
    }
}
