//! What the filter costs, beside what Envoy's own filters cost: `make bench`.
//!
//! One Envoy with one worker on a processor of its own, and in it one listener for each variant: HTTP filters in front
//! of a route that answers 200 itself. wrk asks one listener after the other from another processor, in rounds, each
//! round in the opposite order of the one before. What a variant adds in a round is what Envoy used per request less
//! what it used for the same requests without any filter right before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]
#![allow(missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "the clock tells how long servers may take")]

mod configure;
mod instructions;
mod load;
mod meter;
mod plot;
mod report;
mod responder;
mod rows;
mod variants;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::instructions::Callgrind;
use crate::load::{Requests, Wrk};
use crate::meter::Meter;
use crate::report::{Measured, Sample};
use crate::rows::{ROWS, Row, TRIPWIRE, Tokens, Variant};
use scopegate_testing::harness::{self, Gateway, Options};
use scopegate_testing::http;
use scopegate_testing::workload::{Issuer, PATH};

const USAGE: &str = "cargo bench --bench peers -- [OPTION]...
  --rows NAME,...    the rows to measure; all of them unless said (--list shows their names)
  --rounds N         rounds of every variant (default 15)
  --milliseconds N   of each variant in a round, and of requests without a filter beside it (default 250)
  --connections N    that wrk keeps open (default 16)
  --instructions N   requests to count instructions of, on a machine without counters (default 40; 0: none)
  --no-tripwire      leave out the variants with the tripwire
  --configure        measure configuring for many tenants too (always where --rows is not given)
  --output DIR       where the report goes (default target/bench)
SCOPEGATE_WASM names the filter, SCOPEGATE_WASM_BASE another build of it to be measured beside it;
SCOPEGATE_ENVOY, SCOPEGATE_NODE_SERVERS and SCOPEGATE_WRK what it is measured with.";

struct Arguments {
    rows: Vec<&'static Row>,
    rounds: usize,
    slice: Duration,
    connections: u32,
    instructions: usize,
    tripwire: bool,
    configure: bool,
    output: PathBuf,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Self {
            rows: ROWS.iter().collect(),
            rounds: 15,
            slice: Duration::from_millis(250),
            connections: 16,
            instructions: 40,
            tripwire: true,
            configure: true,
            output: Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench"),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                // cargo adds it.
                "--bench" => {}
                "--rows" => {
                    parsed.rows = value()?.split(',').map(row_named).collect::<Result<_, _>>()?;
                    parsed.configure = false;
                }
                "--configure" => parsed.configure = true,
                "--rounds" => parsed.rounds = number(&value()?)?,
                "--milliseconds" => parsed.slice = Duration::from_millis(number(&value()?)?),
                "--connections" => parsed.connections = number(&value()?)?,
                "--instructions" => parsed.instructions = number(&value()?)?,
                "--no-tripwire" => parsed.tripwire = false,
                "--output" => parsed.output = value()?.into(),
                "--list" => return Err(ROWS.map(|row| row.name).join(" ")),
                _ => return Err(format!("unknown option {argument}\n{USAGE}")),
            }
        }
        Ok(parsed)
    }
}

fn row_named(name: &str) -> Result<&'static Row, String> {
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("no row `{name}`; --list shows them"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn main() {
    let outcome = Arguments::parse().and_then(|arguments| run(&arguments));
    if let Err(message) = outcome {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

/// A variant with the port that it listens on.
struct Subject {
    variant: Variant,
    port: u16,
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors < 2 {
        return Err("two processors are needed, one for Envoy and one for wrk".to_owned());
    }
    let wrk = Wrk { program: variable("SCOPEGATE_WRK")?.into(), connections: arguments.connections };
    let issuer = Issuer::new(harness::now());
    let variants = variants(arguments, &issuer, Purpose::Time)?;
    std::fs::create_dir_all(&arguments.output).map_err(|error| error.to_string())?;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let requests = requests(&issuer, &variants, directory);

    // Everything but Envoy: this process, what it starts from here on, and wrk.
    meter::pin(std::process::id(), OTHER_PROCESSOR);
    let responder = responder::start(&issuer.introspection_response().to_string());
    let gateway = start(&variants, responder, Options::default());
    meter::pin(gateway.process_id(), ENVOY_PROCESSOR);
    let mut meter = Meter::open(gateway.process_id())?;
    let subjects: Vec<Subject> = variants
        .into_iter()
        .map(|variant| Subject { port: gateway.listener_port(&variant.name), variant })
        .collect();
    for Subject { variant, port } in &subjects {
        for status in requests[&variant.tokens].statuses(*port, 50) {
            if status != variant.status {
                return Err(format!("{} answers {status}, not {}", variant.name, variant.status));
            }
        }
        // Every token once, and the VM's compiler has seen what is hot.
        wrk.run(*port, &requests[&variant.tokens], Duration::from_secs(2));
    }

    let mut measured: Vec<Measured> =
        subjects.iter().map(|subject| Measured::new(&subject.variant.name, subject.variant.tokens)).collect();
    for round in 0..arguments.rounds {
        eprint!("\rround {} of {} ", round + 1, arguments.rounds);
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let tokens = subjects[index].variant.tokens;
            let bare = subjects.iter().position(|subject| subject.variant.tokens == tokens).unwrap_or(index);
            if bare == index {
                continue;
            }
            let mut take = |index: usize| {
                sample(&subjects[index], &gateway, &mut meter, &wrk, &requests, arguments.slice)
            };
            // Within a second of each other, so that a machine's drift is in both.
            let (beside, sample) = (take(bare)?, take(index)?);
            measured[bare].samples.push(beside);
            measured[index].beside.push(beside);
            measured[index].samples.push(sample);
        }
    }
    let has_hardware = meter.has_hardware();
    drop(gateway);
    if arguments.instructions > 0 && !has_hardware {
        count_instructions(arguments, &issuer, &requests, responder, &mut measured)?;
    }
    eprintln!("\r{:60}", "");
    let figures = if arguments.configure { configure::figures(&issuer)? } else { Vec::new() };
    let report = report::Report::new(figures, &measured, &arguments.rows, arguments.tripwire, has_hardware);
    print!("{report}");
    report.write(&arguments.output).map_err(|error| format!("{}: {error}", arguments.output.display()))
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: run `make bench`"))
}

/// What the variants are measured for.
#[derive(Clone, Copy)]
enum Purpose {
    /// Under load: each variant of ours has VMs of its own.
    Time,
    /// Request by request under valgrind, which has no room for that many VMs. Ours share one, and write one audit line
    /// a second: of thousands of requests a second as few have a line, whereas all would have one that come singly.
    Instructions,
}

/// Counts the instructions of single requests of each variant in another Envoy, under valgrind.
fn count_instructions(
    arguments: &Arguments,
    issuer: &Issuer,
    requests: &HashMap<Tokens, Requests>,
    responder: u16,
    measured: &mut [Measured],
) -> Result<(), String> {
    eprint!("\rstarting Envoy under valgrind ");
    let valgrind = PathBuf::from(variable("SCOPEGATE_VALGRIND")?);
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind-{}", std::process::id()));
    let variants = variants(arguments, issuer, Purpose::Instructions)?;
    let options = Options {
        runner: instructions::runner(&valgrind, &output),
        patience: Duration::from_secs(600),
        ..Options::default()
    };
    let gateway = start(&variants, responder, options);
    let mut callgrind = Callgrind::new(&valgrind, gateway.process_id(), &output);
    for (variant, measured) in variants.iter().zip(measured) {
        eprint!("\rcounting instructions of {:30}", variant.name);
        let requests = &requests[&variant.tokens];
        let port = gateway.listener_port(&variant.name);
        let mut connection = http::Connection::open(port);
        let mut ask = |count: usize| {
            for position in 0..count {
                let status = connection.send(&requests.single(position)).status;
                assert_eq!(status, variant.status, "{}", variant.name);
            }
        };
        ask(arguments.instructions);
        for _ in 0..5 {
            callgrind.take();
            ask(arguments.instructions);
            measured.instructions.push(callgrind.take() / arguments.instructions as u64);
        }
    }
    Ok(())
}

/// Every variant that a row needs, once.
fn variants(arguments: &Arguments, issuer: &Issuer, purpose: Purpose) -> Result<Vec<Variant>, String> {
    let mut names = Vec::new();
    for row in &arguments.rows {
        for name in [row.ours, row.peer] {
            names.push(name.to_owned());
            if arguments.tripwire && row.target.is_some() && name.starts_with("scopegate") {
                names.push(format!("{name}{TRIPWIRE}"));
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let wasm = PathBuf::from(variable("SCOPEGATE_WASM")?);
    let filter = |wasm: &Path, prefix: &str, variant: &str, configuration: &Value| match purpose {
        Purpose::Time => variants::scopegate(&format!("{prefix}{variant}"), wasm, configuration),
        Purpose::Instructions => {
            let mut configuration = configuration.clone();
            configuration["audit"]["max_per_second"] = json!(1);
            variants::scopegate(&format!("{prefix}shared"), wasm, &configuration)
        }
    };
    let ours = |name: &str, configuration: &Value| filter(&wasm, "", name, configuration);
    let mut variants: Vec<Variant> =
        names.iter().map(|name| rows::variant(name, issuer, INTROSPECTION, &ours)).collect();
    if let Ok(base) = std::env::var("SCOPEGATE_WASM_BASE") {
        let base = PathBuf::from(base);
        let ours = |name: &str, configuration: &Value| filter(&base, "base ", name, configuration);
        for name in names.iter().filter(|name| name.starts_with("scopegate")) {
            let mut variant = rows::variant(name, issuer, INTROSPECTION, &ours);
            variant.name = format!("base {name}");
            variants.push(variant);
        }
    }
    let mut kinds: Vec<Tokens> = Vec::new();
    for variant in &variants {
        if !kinds.contains(&variant.tokens) {
            kinds.push(variant.tokens);
        }
    }
    Ok(kinds.into_iter().map(rows::bare).chain(variants).collect())
}

const ENVOY_PROCESSOR: usize = 0;
const OTHER_PROCESSOR: usize = 1;
const INTROSPECTION: &str = "introspection";
const MANY: usize = 10_000;

/// The requests of each kind that is needed.
fn requests(issuer: &Issuer, variants: &[Variant], directory: &Path) -> HashMap<Tokens, Requests> {
    let mut all = HashMap::new();
    for kind in variants.iter().map(|variant| variant.tokens) {
        all.entry(kind).or_insert_with(|| {
            let tokens = match kind {
                Tokens::None => vec![String::new()],
                Tokens::OneRs256 => vec![issuer.token(&issuer.rs256, 0)],
                Tokens::OneEs256 => vec![issuer.token(&issuer.es256, 0)],
                Tokens::OneOpaque => vec!["2YotnFZFEjr1zCsicMWpAA".to_owned()],
                Tokens::ManyRs256 => many_tokens(issuer),
                Tokens::ManyBadSignatures => bad_signatures(&issuer.token(&issuer.rs256, 0)),
            };
            Requests::new(directory, &format!("{kind:?}"), PATH, tokens)
        });
    }
    all
}

fn many_tokens(issuer: &Issuer) -> Vec<String> {
    thread::scope(|scope| {
        let halves: Vec<_> = [0..MANY / 2, MANY / 2..MANY]
            .into_iter()
            .map(|half| {
                scope.spawn(|| half.map(|number| issuer.token(&issuer.rs256, number)).collect::<Vec<_>>())
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    })
}

/// Tokens that differ in their signature, none of which is the good one.
fn bad_signatures(good: &str) -> Vec<String> {
    let (signed, signature) = good.rsplit_once('.').expect("a JWT");
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let changed = |number: usize| {
        let mut bytes = signature.as_bytes().to_vec();
        for (place, shift) in [(10, 0), (20, 6), (30, 12)] {
            bytes[place] = alphabet[(number >> shift) % alphabet.len()];
        }
        format!("{signed}.{}", String::from_utf8(bytes).unwrap())
    };
    (0..=MANY).map(changed).filter(|token| token != good).take(MANY).collect()
}

/// Starts Envoy with a listener for each variant.
fn start(variants: &[Variant], responder: u16, options: Options) -> Gateway {
    let parts = |variant: &Variant| (variant.name.clone(), variant.filters.clone(), variant.manager.clone());
    let listeners: Vec<_> = variants.iter().map(parts).collect();
    let options = Options {
        filter: false,
        clusters: vec![(variants::AUTHORIZER.to_owned(), responder), (INTROSPECTION.to_owned(), responder)],
        bootstrap: Box::new(move |bootstrap| {
            let place = &mut bootstrap["static_resources"]["listeners"];
            let template = place[0].clone();
            let listeners =
                listeners.iter().map(|(name, filters, manager)| listener(&template, name, filters, manager));
            place.as_array_mut().unwrap().extend(listeners);
        }),
        ..options
    };
    Gateway::start(&Value::Null, &options)
}

/// As a gateway's listener, but with these filters, without an access log, and answering by itself.
fn listener(template: &Value, name: &str, filters: &[Value], replacements: &Map<String, Value>) -> Value {
    let mut listener = template.clone();
    listener["name"] = json!(name);
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let router = manager["http_filters"].as_array().unwrap().last().unwrap().clone();
    manager["http_filters"] = filters.iter().cloned().chain([router]).collect();
    manager["stat_prefix"] = json!(stat_prefix(name));
    manager["access_log"] = json!([]);
    manager["route_config"]["virtual_hosts"][0]["routes"] =
        json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
    manager.as_object_mut().unwrap().extend(replacements.clone());
    listener
}

/// The name in Envoy's statistics, where dots and spaces get in the way.
fn stat_prefix(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn sample(
    subject: &Subject,
    gateway: &Gateway,
    meter: &mut Meter,
    wrk: &Wrk,
    requests: &HashMap<Tokens, Requests>,
    slice: Duration,
) -> Result<Sample, String> {
    let Variant { name, tokens, status, .. } = &subject.variant;
    let prefix = format!("http.{}.downstream_rq_", stat_prefix(name));
    let answered = |class: u16| {
        let stats = gateway.stats(&prefix);
        let of = |what: &str| {
            let wanted = format!("{prefix}{what}");
            stats.iter().find(|(name, _)| *name == wanted).map_or(0, |(_, count)| *count)
        };
        (of("total"), of(&format!("{class}xx")))
    };
    let class = status / 100;
    let before = (answered(class), meter.read());
    let per_second = wrk.run(subject.port, &requests[tokens], slice);
    let after = (meter.read(), answered(class));
    let total = after.1.0 - before.0.0;
    let as_expected = after.1.1 - before.0.1;
    // What wrk breaks off in the end may be without an answer.
    if as_expected + u64::from(wrk.connections) < total {
        return Err(format!(
            "{name} answered {} of {total} requests otherwise than {status}",
            total - as_expected
        ));
    }
    Ok(Sample::new(before.1, after.0, total, per_second))
}
