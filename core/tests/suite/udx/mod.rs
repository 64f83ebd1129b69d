//! UDX in virtual time.

mod fairness;
mod simulation;
