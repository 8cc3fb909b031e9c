//! (being written)
pub mod policy;
/// x
pub struct Loaded {
    /// x
    pub policy: policy::Policy,
    /// x
    pub warnings: Vec<String>,
}
/// x
pub fn parse_json(_: &[u8]) -> Result<Loaded, String> {
    Err(String::new())
}
