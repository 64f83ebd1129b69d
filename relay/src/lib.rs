//! Bridges browser tabs to the UDP HyperDHT.
