# Explicit Runge-Kutta steps of fixed size over a block of conditions.
#
# A record of a step holds, per stage, the state, φ and, where the envelope needs it, z. Records
# lie one after the other on a tape; a solve that keeps nothing has a tape of a single record.
# Per stage there is one matrix product and one pass over the states, which does everything else.

"""
Buffers for integrating up to `width` conditions together, with a tape of `slots` records.

The vectors hold states column after column: entry e of a vector of m = n·columns numbers belongs
to node (e−1)%n + 1 of condition (e−1)÷n + 1 of the block.
"""
mutable struct Forward{
    T,P<:Union{Nothing,Vector{T}},V<:Union{Nothing,Vector{T}},C<:Union{Nothing,Course}
}
    n::Int
    width::Int
    slots::Int
    inside::P
    outside::V
    # Those of the network, and how much of each is a part of p.
    shifts::Matrix{T}
    reach::Matrix{T}
    # The segment at hand where there is a treatment.
    course::C
    initial::Vector{T}
    scaled::Spread{T}
    h::Float64
    state::Vector{T}
    phi::Vector{T}
    z::Vector{T}
    increment::Vector{T}
    # Of the block at hand:
    columns::Int
    m::Int
end

function Forward{T}(
    network::Network, lowering::Lowering, S::Int, width::Int, source=nothing
) where {T}
    n = network.M.n
    block() = Vector{T}(undef, n * width)
    inside = lowering.u_inside ? block() : nothing
    outside = lowering.u_outside ? block() : nothing
    ws = Forward(
        n, width, 0, inside, outside, network.coefficients.shifts, zeros(T, shifts(network), width),
        Course(source, n * width), block(), Spread{T}(n, width), NaN, T[], T[], T[],
        Vector{T}(undef, n * width * S), width, n * width,
    )
    return lengthen!(ws, network, S, 1)
end

"Make room for `slots` records. The state after the last one lies in a record of its own."
function lengthen!(ws::Forward, network::Network, S::Int, slots::Int)
    slots <= ws.slots && return ws
    record = ws.n * ws.width * S
    resize!(ws.state, record * (slots + 1))
    resize!(ws.phi, record * slots)
    needs_z(network.envelope) && resize!(ws.z, record * slots)
    ws.slots = slots
    return ws
end

"Give the memory back, and be of no use any more."
function release!(ws::Forward)
    foreach(free!, (ws.state, ws.phi, ws.z, ws.increment, ws.initial))
    foreach(v -> v === nothing || free!(v), (ws.inside, ws.outside))
    return nothing
end

"Free the memory of a vector now, where it was allocated by itself, and not when it is collected."
free!(v::Vector) = (resize!(v, 0); sizehint!(v, 0); nothing)

"Bytes that `slots` records of `width` conditions take."
function tape_bytes(::Type{T}, φ::Envelope, n::Int, S::Int, width::Int, slots::Int) where {T}
    return n * width * S * sizeof(T) * ((slots + 1) + slots * (1 + needs_z(φ)))
end

function drive!(ws::Forward, lowering::Lowering, u, columns)
    drive!(ws.inside, ws.outside, ws.initial, ws.reach, lowering, u, columns)
    return lay!(ws.inside, ws.inside, ws.shifts, ws.reach, ws.columns)
end

"Get ready for the conditions `columns` of the perturbation `u`: drive and initial state."
function begin!(ws::Forward, lowering::Lowering, u::AbstractMatrix, columns)
    ws.columns = length(columns)
    ws.m = ws.n * ws.columns
    ws.h = NaN
    drive!(ws, lowering, u, columns)
    copyto!(ws.state, 1, ws.initial, 1, ws.m)
    return ws
end

"Get ready for the conditions `columns` of a treatment: its first segment and where it starts."
function begin!(ws::Forward, lowering::Lowering, treatment::Treatment, columns)
    course = ws.course
    copyto!(resize!(course.columns, length(columns)), columns)
    ws.columns = length(columns)
    ws.m = ws.n * ws.columns
    ws.h = NaN
    load!(ws, course, 1)
    copyto!(ws.state, 1, start!(ws.initial, course), 1, ws.m)
    return ws
end

"Give the block the drive of a segment."
function load!(ws::Forward, course::Course, s::Int)
    course.segment = s
    treatment = course.treatment
    drive!(ws, treatment.lowering, segment(treatment, s), course.columns)
    write_moves!(course.moves, course)
    return nothing
end

"Begin a segment at the state behind entry `at`: its drive, and the doses of clamped drugs."
enter!(ws::Forward, ::Nothing, s::Int, at::Int) = nothing
function enter!(ws::Forward, course::Course, s::Int, at::Int)
    load!(ws, course, s)
    each_jump(course.treatment.jumps, course) do e
        ws.state[at + e] = ws.initial[e]
    end
    return nothing
end

"Go on with the segment that the step after so many `steps` is made in."
resume!(ws::Forward, ::Nothing, grid, steps) = nothing
function resume!(ws::Forward, course::Course, grid, steps)
    s = segment_after(grid, steps)
    s == course.segment || load!(ws, course, s)
    return nothing
end

"""
The k-th stop, with the state behind entry `at`: a segment begins there, `reached` is called, or
both, in this order.
"""
function stop!(ws::Forward, stops, k::Int, at::Int, reached::R) where {R}
    stops.begins[k] == 0 || enter!(ws, ws.course, stops.begins[k], at)
    stops.asked[k] == 0 || reached(stops.asked[k], at)
    return nothing
end

"The stops before the first step."
function stop_at_start!(ws::Forward, grid::Grid, reached::R) where {R}
    k = 1
    while k <= length(grid.steps_at) && grid.steps_at[k] == 0
        stop!(ws, grid, k, 0, reached)
        k += 1
    end
    return nothing
end

function set_step!(ws::Forward, network::Network, h::Float64)
    h == ws.h && return nothing
    ws.h = h
    spread!(ws.scaled, network.coefficients, h)
    return nothing
end

"""
    step!(ws, network, tableau, slot, next_at)

Advance the state of the record in `slot` (from 0) by the step size, filling the record, and
leave the new state behind entry `next_at` of `ws.state`.
"""
@generated function step!(
    ws::Forward, network::Network, method::Tableau{S}, slot::Int, next_at::Int
) where {S}
    body = quote
        m = ws.m
        at = slot * $S * m
    end
    for s in 1:S
        push!(body.args, quote
            here = at + $(s - 1) * m
            target = needs_z(network.envelope) ? ws.z : ws.phi
            product!(target, here, network.M, ws.state, here, ws.columns)
            next = $(s == S ? :next_at : :(at + $s * m))
            stage!(ws, network.envelope, method, Val($s), at, next)
        end)
    end
    push!(body.args, :(return nothing))
    return body
end

"""
The pass of stage s: with Mx in place, find φ and kh = h·f, and form the state of the next stage,
or of the next step, behind entry `next` of `ws.state`.
"""
@generated function stage!(
    ws::Forward{T,P,V,C}, φ::E, ::Tableau{S,A,B}, ::Val{s}, at::Int, next::Int
) where {T,P,V,C,E<:Envelope,S,A,B,s}
    weights = following_weights(S, A, B, s)
    sum_ = :(state[at + e])
    for r in 1:s
        weights[r] == 0 && continue
        term = r == s ? :kh : :(increment[$(r - 1) * m + e])
        sum_ = weights[r] == 1 ? :($sum_ + $term) : :(muladd(T($(weights[r])), $term, $sum_))
    end
    with_z = E <: Union{Polynomial,Hill}
    Mx = with_z ? :(z[here + e]) : :(phi[here + e])
    return quote
        state, phi, z, increment = ws.state, ws.phi, ws.z, ws.increment
        p, v, m = ws.inside, ws.outside, ws.m
        a, b, c = ws.scaled.a, ws.scaled.b, ws.scaled.c
        $(masked(C) ? :(moves = ws.course.moves) : nothing)
        here = at + $(s - 1) * m
        for start in 0:length(a):(m - 1)
            @inbounds @simd ivdep for i in 1:min(length(a), m - start)
                e = start + i
                input = $(P == Nothing ? Mx : :($Mx + p[e]))
                $(with_z ? :(z[here + e] = input) : nothing)
                output = value(φ, input)
                phi[here + e] = output
                kh = a[i] * output - c[i] * state[here + e]
                $(V == Nothing ? nothing : :(kh = muladd(b[i], v[e], kh)))
                $(masked(C) ? :(kh *= moves[e]) : nothing)
                $(wanted_later(S, A, B, s) ? :(increment[$(s - 1) * m + e] = kh) : nothing)
                state[next + e] = $sum_
            end
        end
        return nothing
    end
end

"""
    run!(ws, network, method, grid, first, last, keep, reached)

Take the steps `first` to `last` of the grid from the state in slot 0, each into a slot of its
own if they are to be kept, else all in slot 0. `reached(k, at)` is called whenever the k-th
requested time is reached, with the state behind entry `at`. Where segments begin on the way, the drive
is that of the last of them afterwards.
"""
function run!(
    ws::Forward, network::Network, method::Tableau{S}, grid::Grid, first::Int, last::Int,
    keep::Bool, reached::R,
) where {S,R}
    resume!(ws, ws.course, grid, first - 1)
    k = searchsortedfirst(grid.steps_at, first)
    for step in first:last
        check_interrupt()
        set_step!(ws, network, grid.h[k])
        slot = keep ? step - first : 0
        # In slot 0 the state is advanced in place: the last pass of a step reads an entry of the
        # old state just before it writes the new one.
        next_at = (keep ? slot + 1 : 0) * S * ws.m
        step!(ws, network, method, slot, next_at)
        while k <= length(grid.steps_at) && step == grid.steps_at[k]
            stop!(ws, grid, k, next_at, reached)
            k += 1
        end
    end
    return nothing
end

no_report(k, at) = nothing
