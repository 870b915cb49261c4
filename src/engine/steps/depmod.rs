// SPDX-License-Identifier: GPL-3.0-or-later
//! Let the kernel's module index know what is there: `depmod`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Make the module index of a kernel anew. Undo puts the old index files back, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Depmod {
    /// Kernel release.
    pub kernel: String,
}
