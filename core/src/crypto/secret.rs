//! Bytes that nobody else may see.

use core::fmt;
use core::ops::Deref;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A seed or a symmetric key; wiped on drop, printed as `..`, compared in constant time.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl From<[u8; 32]> for Secret {
    fn from(mut bytes: [u8; 32]) -> Self {
        let secret = Self(bytes);
        bytes.zeroize();
        secret
    }
}

impl Deref for Secret {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_compared_and_not_printed() {
        let secret = Secret::from([7; 32]);

        assert_eq!(alloc::format!("{secret:?}"), "..");
        assert!(secret == Secret::from([7; 32]) && secret != Secret::from([8; 32]));
        assert_eq!(*secret, [7; 32]);
    }
}
