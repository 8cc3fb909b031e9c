//! `protected_resource_metadata` (RFC 9728).

use crate::config::kind::{ErrorKind, WarningKind};
use crate::config::reader::Cursor;
use crate::policy::metadata::{MetadataFault, ResourceMetadata};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Reads `protected_resource_metadata`.
pub fn read(cursor: &Cursor<'_>) -> Option<ResourceMetadata> {
    let fields = cursor.map(&["path", "resource"])?;
    let path_cursor = fields.optional("path");
    let path = path_cursor.as_ref().map(Cursor::string);
    let resource_cursor = fields.required("resource")?;
    let resource = resource_cursor.string()?;
    let path = match path {
        None => WELL_KNOWN.into(),
        Some(path) => path?,
    };
    match ResourceMetadata::parse(&path, &resource) {
        Ok(metadata) => {
            if !metadata.is_secure() {
                resource_cursor.warning(
                    WarningKind::Open,
                    "RFC 9728 has `https` resources only; clients may refuse this one",
                );
            }
            Some(metadata)
        }
        Err(MetadataFault::Path) => {
            let cursor = path_cursor.as_ref().unwrap_or(cursor);
            cursor
                .error(ErrorKind::WrongKind, "expected a path in canonical form, without a slash at its end");
            None
        }
        Err(MetadataFault::Resource) => {
            resource_cursor.error(ErrorKind::WrongKind,
                "expected `https://HOST[:PORT][/PATH]` without query and fragment, in which `{tenant}` may be one label \
                 or one segment",
            );
            None
        }
    }
}
