//! Multiples of the base point, which every signature needs one of.
//!
//! They come from a table, in less than half the time. It is made when it is first needed: as a constant it would be a
//! tenth of what a page loads of the engine. Native hosts have the library's constants, which are faster still.
//!
//! Source: Bernstein, Duif, Lange, Schwabe and Yang, "High-speed high-security signatures" (2012), section 4.

use alloc::boxed::Box;
use alloc::vec::Vec;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{EdwardsPoint, Scalar};
use once_cell::race::OnceBox;
use subtle::{Choice, ConditionallyNegatable, ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

/// Of 256^i times the base point the multiples 1 to 8, at i.
static TABLE: OnceBox<Vec<[EdwardsPoint; 8]>> = OnceBox::new();

/// Digits of a scalar in base 16.
const DIGITS: usize = 64;

/// Multiplies the base point, in a time that does not depend on the scalar, which is reduced.
pub(super) fn mul_base(scalar: &Scalar) -> EdwardsPoint {
    let table = TABLE.get_or_init(|| Box::new(make_table()));
    let digits = digits(scalar);
    let mut sum = EdwardsPoint::identity();
    for parity in [1, 0] {
        for (multiples, pair) in table.iter().zip(digits.chunks_exact(2)) {
            sum += select(multiples, pair[parity]);
        }
        // The odd digits count 16 times.
        if parity == 1 {
            sum = times(sum, 4);
        }
    }
    sum
}

fn make_table() -> Vec<[EdwardsPoint; 8]> {
    let mut power = ED25519_BASEPOINT_POINT;
    let mut table = Vec::with_capacity(DIGITS / 2);
    for _ in 0..DIGITS / 2 {
        let mut multiples = [power; 8];
        for at in 1..8 {
            multiples[at] = multiples[at - 1] + power;
        }
        table.push(multiples);
        power = times(power, 8);
    }
    table
}

/// Doubles a point so often.
fn times(mut point: EdwardsPoint, doublings: u8) -> EdwardsPoint {
    for _ in 0..doublings {
        point = point + point;
    }
    point
}

/// The digits, lowest first, each from -8 to 8.
fn digits(scalar: &Scalar) -> Zeroizing<[i8; DIGITS]> {
    let mut digits = Zeroizing::new([0; DIGITS]);
    let bytes = Zeroizing::new(scalar.to_bytes());
    let mut carry = 0;
    for (at, digit) in digits.iter_mut().enumerate() {
        let nibble = i16::from(bytes[at / 2] >> (4 * (at % 2)) & 15) + carry;
        // The scalar is below 2^253, so the last digit leaves none.
        carry = (nibble + 8) >> 4;
        *digit = (nibble - (carry << 4)) as i8;
    }
    digits
}

/// Returns the multiple of a digit.
fn select(multiples: &[EdwardsPoint; 8], digit: i8) -> EdwardsPoint {
    let mut size = digit.unsigned_abs();
    let mut point = EdwardsPoint::identity();
    for (number, multiple) in (1_u8..).zip(multiples) {
        point.conditional_assign(multiple, size.ct_eq(&number));
    }
    point.conditional_negate(Choice::from((digit as u8) >> 7));
    size.zeroize();
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_are_those_that_multiplying_gives() {
        let mut scalars: Vec<Scalar> =
            [0_u64, 1, 7, 8, 9, 15, 16, 17, 128, 255, 256].map(Scalar::from).to_vec();
        scalars.extend((0..=255).map(|byte| Scalar::from_bytes_mod_order([byte; 32])));
        scalars.push(-Scalar::ONE);
        let mut next = Scalar::from(0x9e37_79b9_7f4a_7c15_u64);
        for _ in 0..200 {
            next = next * next + Scalar::ONE;
            scalars.push(next);
        }

        for scalar in scalars {
            assert_eq!(mul_base(&scalar), ED25519_BASEPOINT_POINT * scalar, "{scalar:?}");
        }
    }
}
