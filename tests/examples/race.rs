//! scratch
#![allow(clippy::all, clippy::pedantic, missing_docs, clippy::print_stdout, clippy::disallowed_methods)]
use std::sync::Arc; use std::num::NonZeroU32;
use sim::arrivals::Arrivals; use sim::spec::*; use sim::world::*; use scheduler::Config;
use workspace_tests::machine::{preset, Record};
use policies::PRESETS;
fn main(){
  let args: Vec<String> = std::env::args().collect();
  let gpu=&args[1]; let n: usize=args[2].parse().unwrap();
  let rates: Vec<f64>=args[3].split(',').map(|x|x.parse().unwrap()).collect();
  let pols: Vec<String> = if args.len()>4 {args[4].split(',').map(|s|s.to_string()).collect()} else {PRESETS.iter().map(|p|p.0.to_string()).collect()};
  let hw=Hardware::new(&Catalog::builtin(), gpu, "qwen3-coder-30b-a3b",0.9).unwrap();
  let setup=Setup{engine:Config{usable_blocks:hw.usable_blocks(units::BlockSize::default()),..Config::default()},cost:Arc::new(hw.cost.clone()),tools:ToolMode::Shared(NonZeroU32::new(8).unwrap()),horizon:None,sample_every:None};
  let (_h,s)=traces::bundled::swebench_mini();
  let s: Vec<Arc<_>>=s.into_iter().map(Arc::new).collect();
  let ideal: Vec<f64>=s.iter().map(|x| alone(&setup,preset("fcfs",&[]).build().unwrap(),x).unwrap().unwrap().as_secs()).collect();
  println!("mean ideal {:.1} peak max {:?}", ideal.iter().sum::<f64>()/ideal.len() as f64, s.iter().map(|x|x.peak_tokens()).max());
  for r in rates { for p in &pols {
    let off=Arrivals::Fixed{rate_per_s:r}.times(1).unwrap().take(n).enumerate().map(|(i,a)|Offered{session:s[(i*37)%s.len()].clone(),arrival:a});
    let mut rec=Record::default();
    let t=std::time::Instant::now();
    struct O<'a>(&'a mut Record);
    impl Observer for O<'_>{ fn session(&mut self,r:SessionRecord){self.0.sessions.push(r)} }
    let sum=simulate(&setup,preset(p,&[]).build().unwrap(),off,&mut O(&mut rec)).unwrap();
    let mut l: Vec<f64>=rec.sessions.iter().filter_map(|x|x.finished.map(|f|f.since(x.arrival).as_secs())).collect();
    let good=|a:f64| rec.sessions.iter().filter(|x| x.finished.is_some_and(|f| f.since(x.arrival).as_secs()<=a*ideal[(x.session.0 as usize*37)%s.len()])).count() as f64/sum.makespan.as_secs();
    l.sort_by(f64::total_cmp);
    let c=sum.counters;
    println!("{r:.2} {p:20} done {} mean {:8.1} p50 {:8.1} p90 {:8.1} p99 {:8.1} good2 {:.4} good3 {:.4} hit {:.3} preempt {:6} evict {:9} recomp {:10} span {:.0} steps {} wall {:.2}", sum.completed, l.iter().sum::<f64>()/l.len() as f64, l[l.len()/2], l[l.len()*9/10], l[l.len()*99/100], good(2.0),good(3.0), c.hit as f64/c.prompt as f64, c.preemptions,c.evicted,c.recomputed,sum.makespan.as_secs(),c.steps,t.elapsed().as_secs_f64());
  }}
}
