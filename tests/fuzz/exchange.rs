//! Whole requests against a naive model.

use crate::gateway::{Gateway, Outcome};
use crate::scene::{Scene, TENANTS};

/// A request passes under the tenant that the model says, or is refused where the model refuses.
pub fn exchange(bytes: &[u8]) {
    let scene = Scene::of(bytes);
    let document = scene.configuration();
    if scopegate::config::parse_json(document.to_string().as_bytes()).is_err() {
        return;
    }
    let outcome = Gateway::new(&document).call(&scene.call());
    let passed = match &outcome {
        Outcome::Passed(passed) => passed.tenant.as_deref(),
        Outcome::Refused(_) | Outcome::Told(_) => None,
    };
    let expected = scene.passes_under().map(|tenant| TENANTS[tenant]);
    assert_eq!(passed, expected, "{scene:#?}\n{outcome:?}\n{document:#}");
}
