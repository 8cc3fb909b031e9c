//! What the workers of one proxy share.

/// Data that workers share, with versions for compare-and-swap.
pub trait SharedStore {
    /// The value at `key` and its version.
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Sets the value at `key` if its version is still this one; 0 for whatever it is. False where it is not. Whether a
    /// value that is not there yet has any version is the host's choice.
    fn write(&self, key: &str, value: &[u8], version: u32) -> bool;
}
