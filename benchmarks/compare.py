"""Compare async_lru with its peers: ``make benchmark``."""
import argparse, asyncio, gc, json, sys
from statistics import median
from peers import PEERS, Lacks
from scenarios import SCENARIOS, MEMORY, Failed
async def measure(s, peer):
    gc.collect(); gc.disable()
    try: return await s(peer)
    except (Lacks, Failed) as e: return repr(e)
    finally: gc.enable()
def main():
    a=argparse.ArgumentParser(); a.add_argument("--only",default=""); a.add_argument("--peers",default=""); a.add_argument("--rounds",type=int,default=9); a.add_argument("--memory",action="store_true")
    o=a.parse_args()
    peers=[p for p in PEERS if not o.peers or p.name in o.peers.split(",")]
    for p in peers: p.load()
    table=MEMORY if o.memory else SCENARIOS
    for name,s in table.items():
        if o.only and not any(x in name for x in o.only.split(",")): continue
        got={p.name:[] for p in peers}
        for r in range(1 if o.memory else o.rounds):
            for p in peers:
                if got[p.name] and isinstance(got[p.name][-1],str): continue
                got[p.name].append(asyncio.run(measure(s,p)))
        base=got.get("async-lru",[""])
        print(f"{name:50}", {k:(v[0] if isinstance(v[-1],str) else (round(min(v)), round(min(base)/min(v),2) if not isinstance(base[-1],str) else None)) for k,v in got.items()},flush=True)
main()
