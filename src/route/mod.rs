pub mod index;
pub use index::OperationId;
