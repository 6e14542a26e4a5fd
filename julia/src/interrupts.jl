# A long evaluation can be given up: who waits for it sets a flag, at which every loop looks.

"Not zero while the running evaluations are to be given up."
const INTERRUPTED = Threads.Atomic{Int}(0)

"Raise an `InterruptException` if the running evaluations are to be given up."
@inline check_interrupt() = INTERRUPTED[] == 0 ? nothing : raise_interrupt()
@noinline raise_interrupt() = throw(InterruptException())
