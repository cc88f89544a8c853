//! A real Apache Kafka broker for tests: one node in KRaft mode, in a temporary folder, on free ports of 127.0.0.1.
//!
//! The jars come from `fetch.sh`, which keeps them in a cache. Java is found by PATH.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::Outcome;

/// A broker answers after about 4 s; a busy machine gets ten times that.
const START_TIMEOUT: Duration = Duration::from_secs(45);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Any will do; it is written into the log folder when that is formatted.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// A message as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub value: Option<String>,
}

/// Killed when dropped.
pub struct Broker {
    jars: PathBuf,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Broker {
    pub fn start() -> Outcome<Broker> {
        let jars = jars()?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        // Both are held while the other is chosen, so that they differ.
        let (first, second) = (free_port()?, free_port()?);
        let port = |listener: &TcpListener| listener.local_addr().map(|a| a.port()).map_err(|e| e.to_string());
        let (broker_port, controller_port) = (port(&first)?, port(&second)?);
        drop((first, second));
        let log = folder.path().join("log");
        let settings = settings(broker_port, controller_port, &log);
        fs::write(folder.path().join("server.properties"), settings).map_err(|e| e.to_string())?;
        let mut broker = Broker { jars, folder, port: broker_port, process: None };
        broker.format()?;
        broker.restart()?;
        Ok(broker)
    }

    pub fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same broker again, with what it has stored; waits until it answers.
    pub fn restart(&mut self) -> Outcome {
        self.kill();
        let output = File::create(self.folder.path().join("output.txt")).map_err(|e| e.to_string())?;
        let errors = output.try_clone().map_err(|e| e.to_string())?;
        let process = self.java("kafka.Kafka").stdout(output).stderr(errors).spawn().map_err(|e| e.to_string())?;
        self.process = Some(process);
        let deadline = Instant::now() + START_TIMEOUT;
        let consumer = self.consumer("read_committed")?;
        while consumer.fetch_metadata(None, Duration::from_secs(1)).is_err() {
            if Instant::now() > deadline {
                let said = fs::read_to_string(self.folder.path().join("output.txt")).unwrap_or_default();
                return Err(format!("the Kafka broker does not answer; it says:\n{said}"));
            }
        }
        Ok(())
    }

    /// Starts the broker if it does not run, wakes it if it was stopped.
    pub fn ensure_running(&mut self) -> Outcome {
        if self.process.is_some() { self.resume() } else { self.restart() }
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops the broker in the middle of whatever it does; connections stay open, nothing is answered.
    pub fn pause(&self) -> Outcome {
        self.signal("-STOP")
    }

    pub fn resume(&self) -> Outcome {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Outcome {
        let Some(process) = &self.process else { return Err("the broker does not run".into()) };
        let status = Command::new("kill").args([signal, &process.id().to_string()]).status();
        status.map_err(|e| e.to_string())?.success().then_some(()).ok_or_else(|| format!("kill {signal} failed"))
    }

    fn format(&self) -> Outcome {
        let mut command = self.java("kafka.tools.StorageTool");
        command.args(["format", "--standalone", "--cluster-id", CLUSTER_ID, "--config"]).arg(self.settings_file());
        let output = command.output().map_err(|e| e.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("cannot format the broker's folder:\n{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn settings_file(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(self.jars.join("*")).arg(class);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if class == "kafka.Kafka" {
            command.arg(self.settings_file());
        }
        command
    }

    // --- What tests ask of it ---

    pub fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Outcome {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let admin = self.admin()?;
        wait(admin.create_topics([&new], &options()))?;
        // Created is not yet known everywhere: wait until its partitions have a leader.
        let consumer = self.consumer("read_committed")?;
        let deadline = Instant::now() + CALL_TIMEOUT;
        loop {
            let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT).map_err(shown)?;
            let led = metadata.topics().first().is_some_and(|t| {
                t.error().is_none()
                    && t.partitions().len() == partitions as usize
                    && t.partitions().iter().all(|p| p.leader() >= 0)
            });
            match led {
                true => return Ok(()),
                false if Instant::now() > deadline => return Err(format!("topic {topic} has no leader")),
                false => {}
            }
        }
    }

    pub fn add_partitions(&self, topic: &str, total: usize) -> Outcome {
        let new = NewPartitions::new(topic, total);
        wait(self.admin()?.create_partitions([&new], &options()))
    }

    /// Removes the records of a partition in front of `offset`, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Outcome {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(shown)?;
        let admin = self.admin()?;
        runtime()?.block_on(admin.delete_records(&list, &options())).map(drop).map_err(shown)
    }

    /// Writes (partition, key, value) in that order, and waits for their acknowledgement.
    pub fn produce<'a>(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (i32, Option<&'a str>, Option<&'a [u8]>)>,
    ) -> Outcome {
        let producer: BaseProducer = self.config().set("linger.ms", "5").create().map_err(shown)?;
        send(&producer, topic, records)?;
        producer.flush(CALL_TIMEOUT).map_err(shown)
    }

    /// The same in a transaction, which is committed or aborted.
    pub fn transact<'a>(
        &self,
        topic: &str,
        commit: bool,
        records: impl IntoIterator<Item = (i32, Option<&'a str>, Option<&'a [u8]>)>,
    ) -> Outcome {
        let producer: BaseProducer = self.config().set("transactional.id", topic).create().map_err(shown)?;
        producer.init_transactions(CALL_TIMEOUT).map_err(shown)?;
        producer.begin_transaction().map_err(shown)?;
        send(&producer, topic, records)?;
        producer.flush(CALL_TIMEOUT).map_err(shown)?;
        let end =
            if commit { producer.commit_transaction(CALL_TIMEOUT) } else { producer.abort_transaction(CALL_TIMEOUT) };
        end.map_err(shown)
    }

    /// All committed messages of a topic, by partition and offset.
    pub fn read(&self, topic: &str) -> Outcome<Vec<Read>> {
        let consumer = self.consumer("read_committed")?;
        let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT).map_err(shown)?;
        let partitions = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect::<Vec<_>>();
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(topic, *partition, Offset::Beginning).map_err(shown)?;
        }
        consumer.assign(&list).map_err(shown)?;
        let deadline = Instant::now() + CALL_TIMEOUT;
        let mut messages = Vec::new();
        let mut ended = 0;
        while ended < partitions.len() {
            if Instant::now() > deadline {
                return Err(format!("topic {topic} could not be read to its end"));
            }
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    messages.push(Read {
                        partition: message.partition(),
                        offset: message.offset(),
                        key: message.key().map(text),
                        value: message.payload().map(text),
                    });
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(e)) => return Err(shown(e)),
                None => {}
            }
        }
        messages.sort_by_key(|m| (m.partition, m.offset));
        Ok(messages)
    }

    /// Commits offsets (partition, offset) for a consumer group, as its members would.
    pub fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Outcome {
        let mut config = self.config();
        let consumer: BaseConsumer = config.set("group.id", group).create().map_err(shown)?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(shown)?;
        }
        consumer.commit(&list, CommitMode::Sync).map_err(shown)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.servers());
        config
    }

    fn consumer(&self, isolation: &str) -> Outcome<BaseConsumer> {
        let mut config = self.config();
        config.set("group.id", "reader").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("isolation.level", isolation).set("reconnect.backoff.max.ms", "500");
        config.create().map_err(shown)
    }

    fn admin(&self) -> Outcome<AdminClient<DefaultClientContext>> {
        self.config().create().map_err(shown)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn send<'a>(
    producer: &BaseProducer,
    topic: &str,
    records: impl IntoIterator<Item = (i32, Option<&'a str>, Option<&'a [u8]>)>,
) -> Outcome {
    for (partition, key, value) in records {
        let mut record = BaseRecord::<str, [u8]>::to(topic).partition(partition);
        record.key = key;
        record.payload = value;
        while let Err((e, refused)) = producer.send(record) {
            if e != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(shown(e));
            }
            record = refused;
            producer.poll(Duration::from_millis(10));
        }
    }
    Ok(())
}

fn jars() -> Outcome<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql-tests/kafka/fetch.sh");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().map_err(|e| format!("{script:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{script:?} failed"));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn free_port() -> Outcome<TcpListener> {
    TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())
}

fn settings(port: u16, controller_port: u16, log: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=1\n\
         group.initial.rebalance.delay.ms=0\n\
         broker.session.timeout.ms=2000\n\
         broker.heartbeat.interval.ms=500\n",
        log.display()
    )
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(CALL_TIMEOUT)).request_timeout(Some(CALL_TIMEOUT))
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())
}

/// Waits for an administrative call about one thing.
fn wait(call: impl Future<Output = Result<Vec<Result<String, (String, RDKafkaErrorCode)>>, KafkaError>>) -> Outcome {
    let results = runtime()?.block_on(call).map_err(shown)?;
    results.into_iter().try_for_each(|result| result.map(drop).map_err(|(name, code)| format!("{name}: {code}")))
}

fn shown(error: KafkaError) -> String {
    error.to_string()
}
