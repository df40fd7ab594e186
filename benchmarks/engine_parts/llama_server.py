"""The embedded model as an endpoint: python -m benchmarks.engine_parts.llama_server PORT"""

from __future__ import annotations

import sys
import threading

import xllamacpp

from udfs.engines.llamacpp.files import packaged_model


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = packaged_model()
    params.n_ctx, params.n_parallel, params.cache_ram_mib, params.verbosity = 16384, 2, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.warmup, params.hostnames, params.port = False, ["127.0.0.1"], int(sys.argv[1])
    server = xllamacpp.Server(params)
    print("serving", server, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
