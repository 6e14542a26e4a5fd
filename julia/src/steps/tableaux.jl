# The fixed-step methods and their Butcher tableaux.

"""
An explicit method with steps of at most `dt`, in units of time: `Euler`, `Midpoint`, `Heun` or
`RK4`. Between two requested times the steps are equal and as few as keep them no longer than
`dt`, so that every requested time is a grid point.
"""
abstract type FixedStep end

"`Euler(dt)`: order 1, one stage. See [`FixedStep`](@ref)."
struct Euler <: FixedStep
    dt::Float64
    Euler(dt) = new(positive_step("Euler", dt))
end

"`Midpoint(dt)`: order 2, two stages. See [`FixedStep`](@ref)."
struct Midpoint <: FixedStep
    dt::Float64
    Midpoint(dt) = new(positive_step("Midpoint", dt))
end

"`Heun(dt)`: the trapezoidal rule, order 2, the default. See [`FixedStep`](@ref)."
struct Heun <: FixedStep
    dt::Float64
    Heun(dt) = new(positive_step("Heun", dt))
end

"`RK4(dt)`: the classical method, order 4, four stages. See [`FixedStep`](@ref)."
struct RK4 <: FixedStep
    dt::Float64
    RK4(dt) = new(positive_step("RK4", dt))
end

function positive_step(name, dt)
    dt isa Real && !(dt isa Bool) && 0 < dt < Inf && return Float64(dt)
    return throw(SolverError("$name was given dt=$(repr(dt)); it needs a finite number > 0."))
end

"""
    fixed_step(name, dt)

A fixed-step method by its name, `"Euler"`, `"Midpoint"`, `"Heun"` or `"RK4"`.
"""
function fixed_step(name, dt)
    for method in (Euler, Midpoint, Heun, RK4)
        nameof(method) == Symbol(name) && return method(dt)
    end
    return throw(
        SolverError("unknown solver $(repr(name)); known: Euler, Midpoint, Heun, RK4.")
    )
end

"""
A Butcher tableau as a type, so that the step is compiled with its weights written out:
`A[s]` are the weights of the earlier stages in stage s, `B` those of the step, `S = length(B)`.
"""
struct Tableau{S,A,B} end

tableau(::Euler) = Tableau{1,((),),(1.0,)}()
tableau(::Midpoint) = Tableau{2,((), (0.5,)),(0.0, 1.0)}()
tableau(::Heun) = Tableau{2,((), (1.0,)),(0.5, 0.5)}()
function tableau(::RK4)
    return Tableau{
        4,((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),(1 / 6, 1 / 3, 1 / 3, 1 / 6)
    }()
end

stages(::Tableau{S}) where {S} = S

"""
h·c up to which steps of h are stable for a node that decays at the rate c: where the stability
polynomial, 1 + z + … + z^S/S! for as many stages as the order, is 1 on the real axis (for Euler
−1).
"""
reach(::Tableau{1}) = 2.0
reach(::Tableau{2}) = 2.0
reach(::Tableau{4}) = 2.785293563405282

"Weights that lead from the stages up to s to stage s + 1, or to the end of the step."
following_weights(S, A, B, s) = s < S ? A[s + 1] : B

"Whether h·f of stage s is wanted again after stage s + 1 has been formed."
function wanted_later(S, A, B, s)
    return any(q -> following_weights(S, A, B, q)[s] != 0, (s + 1):S)
end

"Of one integration with fixed steps: seconds for the smallest networks."
const MOST_STEPS = 1_000_000

"""
Where an integration stops: at the requested times, and where segments of a treatment end.

`since[k]` is the time of the k-th stop since its segment began, `asked[k]` which of the requested
times it is and `begins[k]` which segment begins there, 0 for none.
"""
struct Stops
    times::Vector{Float64}
    since::Vector{Float64}
    asked::Vector{Int}
    begins::Vector{Int}
end

"Times that differ by less than this share of the whole span are one."
const SAME_TIME = 1e-9

"The stops from t = 0, or from the first of the `starts` of segments, through the requested times."
function Stops(times, starts=nothing)
    times = Float64.(vec(collect(times)))
    if isempty(times) || !all(isfinite, times)
        throw(SolverError("times=$times; they need to be a list of finite numbers."))
    end
    first_ = starts === nothing ? 0.0 : starts[1]
    if times[1] < first_ || any(k -> times[k] <= times[k - 1], 2:length(times))
        throw(SolverError("times=$times; they need to increase strictly from $first_ or later."))
    end
    t = length(times)
    starts === nothing && return Stops(times, times, collect(1:t), zeros(Int, t))
    stops = Stops(times, Float64[], Int[], Int[])
    slack = SAME_TIME * max(maximum(abs, starts), abs(times[end]))
    k = 1
    for (s, start) in enumerate(starts)
        last = s == length(starts)
        while k <= t && (last || times[k] < starts[s + 1] - slack)
            since = times[k] - start
            # What rounding puts beside the start of a segment is at it.
            stop!(stops, since <= slack ? 0.0 : since, k, 0)
            k += 1
        end
        k > t && break
        stop!(stops, starts[s + 1] - start, 0, s + 1)
    end
    return stops
end

function stop!(stops::Stops, since, asked, begins)
    push!(stops.since, since)
    push!(stops.asked, asked)
    push!(stops.begins, begins)
    return nothing
end

"Time that has passed since the stop before `k`, or since the segment began."
function since_last(stops::Stops, k)
    fresh = k == 1 || stops.begins[k - 1] != 0
    return fresh ? stops.since[k] : stops.since[k] - stops.since[k - 1]
end

"Number of the stop at the `prefix`-th requested time; of the last one for `nothing`."
last_stop(stops, ::Nothing) = length(stops.asked)
function last_stop(stops, prefix::Integer)
    1 <= prefix <= length(stops.times) || throw(
        SolverError("prefix=$prefix; there are $(length(stops.times)) times to take it from.")
    )
    return findfirst(==(prefix), stops.asked)
end

"""
The steps from stop to stop.

`steps_at[k]` is the number of steps after which the k-th stop is reached and `h[k]` the size of
those that lead to it; `asked` and `begins` are those of [`Stops`](@ref).
"""
struct Grid
    times::Vector{Float64}
    steps_at::Vector{Int}
    h::Vector{Float64}
    asked::Vector{Int}
    begins::Vector{Int}
end

function Grid(times, dt::Real, starts=nothing)
    stops = Stops(times, starts)
    whole = stops.times[end] - (starts === nothing ? 0.0 : starts[1])
    whole / dt <= MOST_STEPS || throw(
        SolverError(
            "steps of $dt are $(whole / dt) to t = $(stops.times[end]), and at most $MOST_STEPS " *
            "are taken: use dt ≥ $(whole / MOST_STEPS), or Tsit5.",
        ),
    )
    steps_at, h, total = Int[], Float64[], 0
    for k in eachindex(stops.since)
        span = since_last(stops, k)
        # A hair of tolerance, so that 10.0/0.1 is a hundred steps and not a hundred and one.
        count = span == 0 ? 0 : max(1, ceil(Int, span / dt * (1 - 1e-12)))
        total += count
        push!(steps_at, total)
        push!(h, span / max(count, 1))
    end
    return Grid(stops.times, steps_at, h, stops.asked, stops.begins)
end

nsteps(grid::Grid) = grid.steps_at[end]

"The grid up to the `prefix`-th requested time; the whole of it for `nothing`."
first_times(grid::Grid, ::Nothing) = grid
function first_times(grid::Grid, prefix::Integer)
    prefix == length(grid.times) && return grid
    stops = 1:last_stop(grid, prefix)
    return Grid(
        grid.times[1:prefix], grid.steps_at[stops], grid.h[stops], grid.asked[stops],
        grid.begins[stops],
    )
end

"The segment that the step after `steps` steps is made in."
function segment_after(grid::Grid, steps::Int)
    segment = 1
    for k in eachindex(grid.steps_at)
        grid.steps_at[k] > steps && break
        grid.begins[k] == 0 || (segment = grid.begins[k])
    end
    return segment
end

"""
Raise `DivergenceError` if a step is too long for the decay rates `c`. Far from rest the envelope is
flat and −c∘x all that is left; beyond the method's reach the computed states grow there where the
equation's fall, often without becoming infinite.
"""
function check_steps(method::Tableau, grid::Grid, c)
    longest, fastest = maximum(grid.h), Float64(maximum(c))
    # A hair for the rounding of (end − start)/count.
    longest * fastest > reach(method) * (1 + 1e-9) || return nothing
    return throw(
        DivergenceError(
            "node number $(argmax(c)) decays at the rate $(round(fastest; sigdigits=4)), for " *
            "which steps of $(round(longest; sigdigits=4)) are unstable: use dt ≤ " *
            "$(round(reach(method) / fastest; sigdigits=3)), Tsit5, or smaller rates.",
        ),
    )
end
