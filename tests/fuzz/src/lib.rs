//! What is fed with bytes that nobody has seen: every decoder, and every machine that takes bytes from a peer or a disk.
//!
//! A target is a plain function. `cargo fuzz` runs it under libFuzzer; the test `fuzz_replay` of the workspace runs the
//! same ones on the stable compiler, on what upstream really sent and random changes of it.

pub mod mutate;
pub mod targets;

/// Something that is fed.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Recorded bytes to start from: files of `tests/vectors`, whose texts in hexadecimal are taken.
    pub seeds: &'static [&'static str],
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("encodings", &["core-encoding"], targets::decoders::encodings),
    target("wire", &["wire-messages"], targets::decoders::wire),
    target("manifest", &["core-manifest"], targets::decoders::manifest),
    target("multisig", &["core-manifest", "core-crypto"], targets::decoders::multisig),
    target("records", &["corestore-storage"], targets::decoders::records),
    target("ids", &["core-crypto"], targets::decoders::ids),
    target("bitfield", &["core-bitfield"], targets::decoders::bitfield),
    target("oplog", &["core-storage-v10"], targets::decoders::oplog),
    target("bee", &["hyperbee-basic", "hyperbee-variants"], targets::bee::bee),
    target("hypertrie", &["hyperbee-legacy-hypertrie"], targets::bee::hypertrie),
    target("dht", &["dht-messages", "dht-rpc", "dht-persistent"], targets::network::dht),
    target("udx", &["dht-udx"], targets::network::udx),
    target("dht_relay", &["dht-relay"], targets::network::dht_relay),
    target("protomux", &["wire-protomux"], targets::network::protomux),
    target("secret_stream", &["wire-secret-stream", "wire-noise"], targets::network::secret_stream),
    target("sealed", &["wire-secret-stream"], targets::network::sealed),
    target("udx_streams", &[], targets::machines::udx_streams),
    target("dht_node", &[], targets::machines::dht_node),
    target("relay", &[], targets::machines::relay),
    target("relay_client", &[], targets::machines::relay_client),
    target("relay_resume", &[], targets::links::relay_resume),
    target("detour", &[], targets::links::detour),
    target("blind_relay", &[], targets::blind_relay::blind_relay),
    target("log_store", &[], targets::stores::log_store),
    target("store", &["corestore-storage"], targets::stores::store),
    target("proofs", &["core-proofs"], targets::engine::proofs),
    target("engine", &["wire-messages", "wire-session-download"], targets::engine::engine),
];

const fn target(name: &'static str, seeds: &'static [&'static str], run: fn(&[u8])) -> Target {
    Target { name, seeds, run }
}
