//! A path between two network devices that it makes: `ip-path BYTES_PER_SECOND MICROS QUEUE A B`.
//!
//! What the kernel routes to device A waits in a drop-tail queue of `QUEUE` bytes, leaves it at that rate, and comes out of device B `MICROS`
//! microseconds later; the way back is the same. Prints `{ event: "ready" }` once there are devices, and for every line of its input
//! `{ id, result: { tcp, udp, dropped } }`: bytes of each protocol that have come out of B, and packets that found the queue full.

#[cfg(target_os = "linux")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    linux::run().await
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::io::Result<()> {
    Err(std::io::Error::other("devices for IP packets are made on Linux only"))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::VecDeque;
    use std::io::{self, BufRead, Write};
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};
    use tokio::sync::mpsc;
    use tokio_tun::Tun;

    pub(crate) async fn run() -> io::Result<()> {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let [rate, delay, queue, a, b] = &arguments[..] else {
            return Err(io::Error::other("ip-path BYTES_PER_SECOND MICROS QUEUE A B"));
        };
        let number = |text: &String| text.parse::<u32>().map_err(io::Error::other);
        let delay = Duration::from_micros(number(delay)?.into());
        let (rate, queue) = (f64::from(number(rate)?), f64::from(number(queue)?));
        let devices = [device(a)?, device(b)?];
        let mut ways = [Way::new(rate, delay, queue), Way::new(rate, delay, queue)];
        let mut questions = questions();
        say(&json!({ "event": "ready" }))?;
        let mut packets = [vec![0; MAX_PACKET], vec![0; MAX_PACKET]];
        loop {
            let [there, back] = &mut packets;
            let due = ways.iter().filter_map(Way::due).min();
            tokio::select! {
                len = devices[0].recv(there) => ways[0].take(&there[..len?]),
                len = devices[1].recv(back) => ways[1].take(&back[..len?]),
                () = at(due) => {}
                question = questions.recv() => match question {
                    Some(id) => say(&json!({ "id": id, "result": ways[0].figures() }))?,
                    None => return Ok(()),
                }
            }
            for (way, device) in ways.iter_mut().zip([&devices[1], &devices[0]]) {
                way.deliver(device).await;
            }
        }
    }

    fn device(name: &str) -> io::Result<Tun> {
        let built = Tun::builder().name(name).build().map_err(io::Error::other)?;
        built.into_iter().next().ok_or_else(|| io::Error::other("no device was made"))
    }

    fn questions() -> mpsc::UnboundedReceiver<Value> {
        let (ids, questions) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                let Ok(mut question) = serde_json::from_str::<Value>(&line.unwrap_or_default()) else {
                    return;
                };
                if ids.send(question["id"].take()).is_err() {
                    return;
                }
            }
        });
        questions
    }

    async fn at(due: Option<Instant>) {
        match due {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }

    fn say(value: &Value) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{value}")
    }

    /// One direction of the path.
    struct Way {
        /// Bytes per second.
        rate: f64,
        delay: Duration,
        /// Bytes that may wait.
        queue: f64,
        /// When the last packet will have left the queue.
        is_busy_until: Instant,
        on_their_way: VecDeque<(Instant, Vec<u8>)>,
        tcp: usize,
        udp: usize,
        dropped: usize,
    }

    impl Way {
        fn new(rate: f64, delay: Duration, queue: f64) -> Self {
            let (is_busy_until, on_their_way) = (Instant::now(), VecDeque::new());
            Self { rate, delay, queue, is_busy_until, on_their_way, tcp: 0, udp: 0, dropped: 0 }
        }

        fn take(&mut self, packet: &[u8]) {
            let now = Instant::now();
            let len = f64::from(u16::try_from(packet.len()).unwrap_or(u16::MAX));
            let waiting = self.is_busy_until.saturating_duration_since(now).as_secs_f64() * self.rate;
            if waiting + len > self.queue {
                self.dropped += 1;
                return;
            }
            self.is_busy_until = self.is_busy_until.max(now) + Duration::from_secs_f64(len / self.rate);
            self.on_their_way.push_back((self.is_busy_until + self.delay, packet.to_vec()));
        }

        fn due(&self) -> Option<Instant> {
            self.on_their_way.front().map(|(due, _)| *due)
        }

        async fn deliver(&mut self, device: &Tun) {
            let now = Instant::now();
            while self.due().is_some_and(|due| due <= now)
                && let Some((_, packet)) = self.on_their_way.pop_front()
            {
                match packet.get(PROTOCOL) {
                    Some(&TCP) => self.tcp += packet.len(),
                    Some(&UDP) => self.udp += packet.len(),
                    _ => {}
                }
                // A device that is down, or full, loses it like any other.
                let _ = device.send(&packet).await;
            }
        }

        fn figures(&self) -> Value {
            json!({ "tcp": self.tcp, "udp": self.udp, "dropped": self.dropped })
        }
    }

    const MAX_PACKET: usize = 65_536;

    /// Where the header of an IPv4 packet says what is in it.
    const PROTOCOL: usize = 9;
    const TCP: u8 = 6;
    const UDP: u8 = 17;
}
