//! A [`Device`] that is a process on the CPU.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use crate::bench::OnDevice;
use engine::{
    ExecutorError,
    cuda::{Address, Arg, Device, Launch, Limits, Module, Op, kernels},
};
use sha2::{Digest, Sha256};

/// The CPU in place of a GPU.
#[derive(Debug)]
pub(crate) struct Emulated {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    graphs: BTreeMap<u64, Vec<Op>>,
    begun: Vec<(u64, Vec<Op>)>,
    order: u32,
    limits: Limits,
    /// Kernels of the program, in the order of its table.
    kernels: Vec<&'static str>,
}

fn names(modules: &[Module]) -> Vec<&'static str> {
    modules.iter().flat_map(|m| m.kernels()).copied().collect()
}

/// The program, compiled once; `None` without a compiler.
fn program() -> Option<&'static PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| compile(&Module::ALL, |_, body| body.into()))
        .as_ref()
}

/// The program of some modules, each changed by `edit`.
fn compile(modules: &[Module], edit: impl Fn(Module, &str) -> String) -> Option<PathBuf> {
    let compiler = env::var("CXX").unwrap_or_else(|_| "g++".into());
    let works = Command::new(&compiler).arg("--version").output();
    if !cfg!(target_os = "linux") || !works.is_ok_and(|o| o.status.success()) {
        return None;
    }
    let mut source = String::from(include_str!("primitives.h"));
    source.push_str(include_str!("warpgroup.h"));
    source.push_str(kernels::COMMON);
    for &module in modules {
        source.push_str(&edit(module, module.body()));
    }
    source.push_str("#define KERNELS ");
    for name in names(modules) {
        let _ = write!(source, "ENTRY({name}), ");
    }
    source.push('\n');
    source.push_str(include_str!("server.h"));

    let digest = Sha256::digest(&source);
    let key = u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("cuda-emulation-{key:x}"));
    if path.exists() {
        return Some(path);
    }
    fs::create_dir_all(&folder).expect("a folder for the build");
    let file = folder.join(format!("cuda-emulation-{key:x}-{}.cpp", std::process::id()));
    fs::write(&file, source).expect("writable");
    let unfinished = file.with_extension("out");
    let output = Command::new(&compiler)
        .args(["-std=c++17", "-O1", "-w", "-U_FORTIFY_SOURCE"])
        // A misaligned access stops a GPU; here it must stop too.
        .args(["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"])
        .arg(&file)
        .arg("-o")
        .arg(&unfinished)
        .output()
        .expect("the compiler starts");
    assert!(
        output.status.success(),
        "the kernels do not compile as C++:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&unfinished, &path).expect("renamed");
    fs::remove_file(&file).expect("removed");
    Some(path)
}

/// A device, or `None` (said by name) where it cannot be.
pub(crate) fn device(test: &str) -> Option<Bench> {
    let Some(program) = program() else {
        eprintln!("SKIPPED: {test}: no g++ to compile the kernels for the CPU");
        return None;
    };
    Some(start(program, &Module::ALL, Stdio::inherit()))
}

/// A device whose one module is changed, or `None` (said by name) where it cannot be. It has no other
/// kernels, and what stops it is not printed.
pub(crate) fn device_with(
    test: &str,
    module: Module,
    edit: impl Fn(&str) -> String,
) -> Option<Bench> {
    let Some(program) = compile(&[module], |_, body| edit(body)) else {
        eprintln!("SKIPPED: {test}: no g++ to compile the kernels for the CPU");
        return None;
    };
    Some(start(&program, &[module], Stdio::piped()))
}

fn start(program: &Path, modules: &[Module], words: Stdio) -> Bench {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(words)
        .spawn()
        .expect("the emulation starts");
    let to = child.stdin.take().expect("piped");
    let from = BufReader::new(child.stdout.take().expect("piped"));
    Bench::new(Emulated {
        child,
        to,
        from,
        graphs: BTreeMap::new(),
        begun: Vec::new(),
        order: 0,
        limits: Limits::of((9, 0), 4),
        kernels: names(modules),
    })
}

impl Drop for Emulated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the tests hold.
pub(crate) type Bench = crate::bench::Bench<Emulated>;

impl OnDevice for Emulated {
    fn set_order(&mut self, order: u32) {
        self.order = order;
    }
}

fn lost(what: &str) -> ExecutorError {
    ExecutorError::Device {
        device: "the emulation".into(),
        doing: what.into(),
        what: "it has stopped; its last words are above".into(),
    }
}

impl Emulated {
    /// Ends it, and gives what it has said where that was kept ([`device_with`]).
    pub(crate) fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        let mut words = String::new();
        if let Some(mut said) = self.child.stderr.take() {
            let _ = said.read_to_string(&mut words);
        }
        words
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ExecutorError> {
        self.to.write_all(bytes).map_err(|_| lost("send"))
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<(), ExecutorError> {
        self.to.flush().map_err(|_| lost("send"))?;
        self.from.read_exact(bytes).map_err(|_| lost("receive"))
    }

    fn done(&mut self, what: &str) -> Result<(), ExecutorError> {
        self.receive(&mut [0]).map_err(|_| lost(what))
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), ExecutorError> {
        assert_eq!(launch.fault(self.limits), None);
        let which = self
            .kernels
            .iter()
            .position(|&n| n == launch.kernel)
            .expect("a kernel of the table");
        assert!(
            launch.module.kernels().contains(&launch.kernel),
            "{launch:?}"
        );
        let [x, y] = launch.grid;
        let header = [
            which as u32,
            x,
            y,
            1,
            launch.block,
            1,
            1,
            launch.shared,
            self.order,
            launch.args.len() as u32,
        ];
        let mut message = vec![b'L'];
        message.extend(header.iter().flat_map(|v| v.to_le_bytes()));
        message.extend(launch.args.iter().flat_map(|a| Arg::bits(*a).to_le_bytes()));
        self.send(&message)?;
        self.done(launch.kernel)
    }

    fn op(&mut self, op: &Op) -> Result<(), ExecutorError> {
        match op {
            Op::Launch(launch) => self.launch(launch),
            Op::Product(p) => {
                let mut message = vec![b'G'];
                message.extend([p.a, p.w, p.c].iter().flat_map(|a| a.0.to_le_bytes()));
                message.extend(
                    [p.m, p.n, p.k, u32::from(p.wide)]
                        .iter()
                        .flat_map(|v| v.to_le_bytes()),
                );
                self.send(&message)?;
                self.done("product")
            }
            Op::Copy {
                from, to, bytes, ..
            } => {
                let mut message = vec![b'C'];
                message.extend([to.0, from.0, *bytes].iter().flat_map(|v| v.to_le_bytes()));
                self.send(&message)
            }
        }
    }
}

impl Device for Emulated {
    fn name(&self) -> String {
        "CPU (emulation)".into()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn alloc(&mut self, bytes: u64) -> Result<Address, ExecutorError> {
        let mut message = vec![b'A'];
        message.extend(bytes.to_le_bytes());
        self.send(&message)?;
        let mut at = [0; 8];
        self.receive(&mut at)?;
        Ok(Address(u64::from_le_bytes(at)))
    }

    fn free(&mut self, _: Address) -> Result<(), ExecutorError> {
        // The process ends with the test.
        Ok(())
    }

    fn alloc_host(&mut self, bytes: u64) -> Result<Address, ExecutorError> {
        self.alloc(bytes)
    }

    fn write(&mut self, to: Address, bytes: &[u8]) -> Result<(), ExecutorError> {
        let mut message = vec![b'W'];
        message.extend(
            [to.0, bytes.len() as u64]
                .iter()
                .flat_map(|v| v.to_le_bytes()),
        );
        self.send(&message)?;
        self.send(bytes)
    }

    fn read(&mut self, from: Address, to: &mut [u8]) -> Result<(), ExecutorError> {
        if to.is_empty() {
            return Ok(());
        }
        let mut message = vec![b'R'];
        message.extend(
            [from.0, to.len() as u64]
                .iter()
                .flat_map(|v| v.to_le_bytes()),
        );
        self.send(&message)?;
        self.receive(to)
    }

    fn run(&mut self, ops: &[Op]) -> Result<(), ExecutorError> {
        ops.iter().try_for_each(|op| self.op(op))
    }

    fn record(&mut self, graph: u64, ops: &[Op]) -> Result<(), ExecutorError> {
        self.graphs.insert(graph, ops.to_vec());
        self.run(ops)
    }

    fn replay(&mut self, graph: u64) -> Result<bool, ExecutorError> {
        let Some(ops) = self.graphs.get(&graph).cloned() else {
            return Ok(false);
        };
        self.run(&ops)?;
        Ok(true)
    }

    fn forget_graphs(&mut self) {
        self.graphs.clear();
    }

    fn begin(&mut self, copy: u64, ops: &[Op]) -> Result<(), ExecutorError> {
        // Done as late as may be: when somebody asks whether it has ended.
        self.begun.push((copy, ops.to_vec()));
        Ok(())
    }

    fn ended(&mut self, copy: u64) -> Result<bool, ExecutorError> {
        while let Some((id, ops)) = (!self.begun.is_empty()).then(|| self.begun.remove(0)) {
            self.run(&ops)?;
            if id == copy {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
