//! Paths of others, and our own, each with its verdict.

use scopegate::route::path::canonicalize;
use serde_json::Value;

fn canonical(path: &str) -> Result<String, String> {
    canonicalize(path.as_bytes()).map(|path| path.path().to_owned()).map_err(|cause| format!("{cause:?}"))
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn every_path_of_the_fixture_is_read_or_refused_as_it_says() {
    let mut cases = 0;
    for case in lines(include_str!("../fixtures/paths.jsonl")) {
        let path = case["path"].as_str().unwrap();
        let expected = match case["refused"].as_str() {
            Some(cause) => Err(cause.to_owned()),
            None => Ok(case["canonical"].as_str().unwrap().to_owned()),
        };
        assert_eq!(canonical(path), expected, "{path:?}");
        cases += 1;
    }
    assert!(cases > 50);
}

#[test]
fn a_path_of_istio_is_refused_or_read_as_its_normal_form() {
    let text = include_str!("../fixtures/conformance/path-cases.jsonl");
    let mut read = 0;
    for case in lines(text) {
        let (Some(path), Some(normalized)) = (case["request_path"].as_str(), case["normalized"].as_str())
        else {
            continue;
        };
        if let Ok(path) = canonical(path) {
            assert_eq!(Ok(path), canonical(normalized), "{}", case["id"]);
            read += 1;
        }
    }
    assert!(read > 100, "only {read} paths are read: refusing everything is no answer");
}
