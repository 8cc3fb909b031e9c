//! Each target for some seconds: its seeds and what once failed, as they are and changed at random.

#![allow(clippy::disallowed_methods, reason = "a test measures its own time")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use scopegate_fuzz::{TARGETS, seeds};

/// How long one target is tried: `SCOPEGATE_FUZZ_SECONDS`, 4 by default.
fn patience() -> Duration {
    let seconds = std::env::var("SCOPEGATE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(4))
}

fn findings(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings").join(name);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// `seed` with up to four changes: an octet, a piece left out, doubled, or taken from another seed.
fn changed(seed: &[u8], seeds: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..16)).min(bytes.len());
        match random.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..=other.len());
                let to = (from + random.random_range(0..64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let mut seeds = seeds(name);
    seeds.extend(findings(name));
    let seed = scopegate::collections::seeded_hash::random_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (begun, patience) = (Instant::now(), patience());
    let mut count = 0;
    let originals = seeds.clone().into_iter();
    let mut inputs = originals.map(Some).chain(std::iter::repeat(None));
    while begun.elapsed() < patience || count < seeds.len() {
        let input = inputs.next().flatten().unwrap_or_else(|| {
            let chosen = random.random_range(0..seeds.len());
            changed(&seeds[chosen], &seeds, &mut random)
        });
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            let text = String::from_utf8_lossy(&input);
            panic!("`{name}` fails for this input, which belongs into findings/{name}/: {text:?}\n{input:?}");
        }
        count += 1;
    }
    println!("{name}: {count} inputs, from the seed {seed}");
}

macro_rules! smoke {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            smoke(stringify!($name));
        })*

        #[test]
        fn every_target_is_tried() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

smoke! {
    token proof jwks introspection shared_data configuration_json configuration_yaml configuration_struct path host
    credential_places form exchange
}
