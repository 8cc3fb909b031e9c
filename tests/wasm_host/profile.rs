//! Kinds of hosts, as strict as those that were tried: what they lack, what they only say they do, what they crash of.

/// One kind of host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: &'static str,
    /// It does not load a module that lacks a callback.
    pub insists_on_exports: bool,
    /// It crashes of foreign functions and queues.
    pub crashes: bool,
    pub traps_on_properties_of_plugins: bool,
    /// Parts of names of functions that it does not have.
    pub lacks: &'static [&'static str],
    pub contexts: Contexts,
    pub removal: Removal,
    /// How many headers it hands over; it says how many there are.
    pub header_limit: Option<usize>,
    /// The filter is shown a normalised path, the upstream gets the client's.
    pub normalises_path: bool,
    pub sets_ticks_once: bool,
}

/// `proxy_set_effective_context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contexts {
    Switched,
    /// It does nothing and says OK.
    Pretended,
}

/// `proxy_remove_header_map_value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Done,
    /// The module no longer sees the header, and the upstream does.
    Hidden,
    /// It does nothing and says OK.
    Pretended,
}

impl Profile {
    /// Envoy.
    pub const ENVOY: Self = Self {
        name: "envoy",
        insists_on_exports: false,
        crashes: false,
        traps_on_properties_of_plugins: false,
        lacks: &[],
        contexts: Contexts::Switched,
        removal: Removal::Done,
        header_limit: None,
        normalises_path: false,
        sets_ticks_once: false,
    };

    /// nginx 1.27.4 with ngx_wasm_module and Wasmtime 26.
    pub const NGINX: Self = Self {
        name: "nginx",
        insists_on_exports: true,
        crashes: true,
        traps_on_properties_of_plugins: true,
        lacks: &["shared_data"],
        contexts: Contexts::Pretended,
        removal: Removal::Hidden,
        header_limit: Some(100),
        normalises_path: true,
        sets_ticks_once: true,
    };

    /// A host that has headers and answers, and nothing else.
    pub const BARE: Self = Self {
        name: "bare",
        insists_on_exports: true,
        crashes: true,
        traps_on_properties_of_plugins: true,
        lacks: &["shared_data", "tick", "http_call", "metric", "property", "buffer_status"],
        contexts: Contexts::Pretended,
        removal: Removal::Done,
        header_limit: Some(100),
        normalises_path: false,
        sets_ticks_once: true,
    };

    pub fn is_envoy(&self) -> bool {
        self.name == "envoy"
    }

    /// Whether the host has a function.
    pub fn has(&self, function: &str) -> bool {
        !self.lacks.iter().any(|part| function.contains(part))
    }

    /// Whether the host crashes of a call of this function.
    pub fn traps_on(&self, function: &str) -> bool {
        self.crashes && (function.contains("queue") || function.contains("foreign"))
    }
}
