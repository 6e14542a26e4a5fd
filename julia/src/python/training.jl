# Training for Python, many iterations a call.

"""
    python_training(session, structure, dtype, shared, ranges, options, raw, arrays, train,
                    validation, patience, full_batch)

Prepare a run of AdamW.

- `options`: beta1, beta2, epsilon, weight decay and clip norm.
- `raw`: names of the raw parameters; `arrays`: for each, the addresses of its start, learning
  rates, l1 and l2 strengths.
- `ranges`: address of the held response ranges, or 0.
- `train`, `validation`: address and number of rows.
"""
function python_training(
    s::PythonSession, structure, dtype, shared, ranges, options, @nospecialize(raw),
    @nospecialize(arrays), train, validation, patience, full_batch,
)
    T = element_type(dtype)
    n = nodes(structure)
    read(name, address) =
        name == :W ? Matrix{T}(wrap_W(T, address, n)) : Vector{T}(wrap(T, address, n))
    names = Symbol[Symbol(name) for name in raw]
    sets = [Raw{T}(name => read(name, a[k]) for (name, a) in zip(names, arrays)) for k in 1:4]
    held = ranges == 0 ? nothing : Vector{T}(wrap(T, ranges, n))
    par = Parametrization{T}(structure, held; shared=Bool(shared))
    return AdamWRun(
        s.session, par, AdamWOptions(map(Float64, options)...);
        raw=sets[1], learning_rates=sets[2], l1=sets[3], l2=sets[4],
        train=rows_from(train...), validation=rows_from(validation...), patience=patience,
        full_batch=Bool(full_batch),
    )
end

"""
    python_advance(run, count, records, rows, ends, prefixes, closes_epoch, factors)

Run `count` iterations. All but the first two arguments are addresses: of the (4, count) records,
of the rows of all batches one after the other, of where each batch ends in them, and for each of
its number of first times (0 for all), a byte, and a learning rate factor.
"""
function python_advance(
    run::AdamWRun, count, records, rows, ends, prefixes, closes_epoch, factors
)
    stop = wrap(Int64, ends, count)
    all_rows = rows_from(rows, stop[end])
    batches = [all_rows[((k == 1 ? 0 : stop[k - 1]) + 1):stop[k]] for k in 1:count]
    return advance!(
        run, wrap(Float64, records, count, 4), batches,
        wrap(Int64, prefixes, count), wrap(UInt8, closes_epoch, count) .!= 0, wrap(Float64, factors, count),
    )
end

"Write the best, or the current, raw parameters into the arrays at `addresses`."
function python_read(
    run::AdamWRun{T}, @nospecialize(names), @nospecialize(addresses), best
) where {T}
    source = Bool(best) ? run.best_raw : run.raw
    for (name, address) in zip(names, addresses)
        array = source[Symbol(name)]
        target = name == "W" ? wrap_W(T, address, size(array, 1)) : wrap(T, address, length(array))
        copyto!(target, array)
    end
    return nothing
end

"""
Write the state of a run (`PARTS` one after the other, and best, since, count, shrink, retried) to
Float64 arrays at two addresses, or take it over from there.
"""
function python_state(run::AdamWRun, @nospecialize(names), vectors, numbers, restoring)
    flat = wrap(Float64, vectors, length(PARTS) * sum(length, values(run.raw)))
    at = 0
    for kind in PARTS, name in names
        array = part(run, kind)[Symbol(name)]
        place = reshape(view(flat, (at + 1):(at + length(array))), size(array))
        place = name == "W" ? transpose(place) : place
        Bool(restoring) ? copyto!(array, place) : copyto!(place, array)
        at += length(array)
    end
    scalars = wrap(Float64, numbers, 5)
    if Bool(restoring)
        best, since, count_, shrink, retried = scalars
        restore!(run, best, Int(since), Int(count_), shrink, Int(retried))
    else
        scalars .= (run.best, run.since_best, run.iterations, run.shrink, run.retried)
    end
    return nothing
end
