//! The kinds of mistakes, each with a code that stays the same when messages are reworded.

/// An enum of kinds, with the code of each.
macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($(#[$kind:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$kind])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code, `SG` and four digits. It never changes.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

codes! {
    /// What kind of error a message is about.
    ErrorKind {
        /// The text is neither JSON nor YAML.
        Unreadable = "SG1001",
        /// One configuration is needed, and there is none or several.
        NotOneDocument = "SG1002",
        /// The compact form holds no configuration.
        CompactForm = "SG1003",
        /// A key that is not known where it stands.
        UnknownKey = "SG1101",
        /// A key that is needed is not there.
        MissingKey = "SG1102",
        /// A key or a name is there twice.
        Repeated = "SG1103",
        /// A value of another type, or none of the words that are taken.
        WrongKind = "SG1104",
        /// A value that is too small, too large, too long, or holds what cannot stand there.
        OutOfBounds = "SG1105",
        /// The same thing in two files of a table.
        InTwoFiles = "SG1201",
        /// Two operations could match one request.
        Ambiguous = "SG1202",
        /// A name of something that is not there.
        DanglingReference = "SG1203",
        /// Two keys contradict each other.
        Contradiction = "SG1204",
        /// An operation requires nothing.
        NothingRequired = "SG1205",
        /// No request can ever pass.
        NeverPasses = "SG1301",
        /// A way around the guard of a token endpoint.
        Unguarded = "SG1302",
        /// The host cannot serve it.
        HostLacks = "SG1401",
        /// The proxy lets requests through while the filter does not run.
        FailsOpen = "SG3001",
        /// The tripwire stands before the filter.
        TripwireBefore = "SG3002",
        /// The proxy does not have a cluster that is called.
        NoSuchCluster = "SG3003",
        /// Metadata of an issuer that the filter does not go by.
        MetadataUseless = "SG4001",
        /// An issuer that publishes no key that could verify a token.
        NoKeyOfUse = "SG4002",
        /// An issuer that answers with another status than 200.
        IssuerRefuses = "SG4003",
    }
}

codes! {
    /// What kind of warning a message is about.
    WarningKind {
        /// Probably not meant, and of no other kind.
        Doubtful = "SG2000",
        /// More is open than usual.
        Open = "SG2101",
        /// Nobody can make use of it.
        Unusable = "SG2201",
        /// A name that says nothing, or looks like another.
        Misleading = "SG2301",
        /// There is no tripwire behind the filter.
        NoTripwire = "SG3101",
        /// The proxy runs the filter otherwise than it should.
        HowItRuns = "SG3102",
        /// An issuer that gives no answer from here.
        IssuerNotReached = "SG4101",
        /// A key of an issuer that cannot be used.
        KeyNotUsed = "SG4102",
    }
}
