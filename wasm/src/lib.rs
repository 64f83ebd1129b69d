//! The engine in a browser or in Node.
