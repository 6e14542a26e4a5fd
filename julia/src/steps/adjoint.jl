# The exact derivative of the computed trajectory: every step reversed.
#
# For a step with stage states X_s, kh_s = h·f(X_s), x⁺ = x + Σ b_s kh_s, and λ the derivative of
# the loss with respect to x⁺, the stages in reverse order give
#
#     κ_s = b_s λ + Σ_{r>s} A_rs X̄_r,   g_s = κ_s∘ha∘φ'(z_s),   X̄_s = Mᵀg_s − hc∘κ_s,
#
# and λ + Σ X̄_s is the derivative with respect to x. The gradient adds up as M̄ = Σ g_s X_sᵀ,
# ā = h Σ κ_s∘φ_s, b̄ = h Σ κ_s∘v, c̄ = −h Σ κ_s∘X_s, and where it is wanted p̄ = Σ g_s,
# v̄ = Σ κ_s∘hb; λ at the start is x̄₀. Where a node stays, κ_s is 0. Shifts have their part of p̄.

"Buffers for reversing the steps of a `Forward`, and the gradient collected so far."
mutable struct Reverse{T}
    adjoint::Vector{T}
    kappa::Vector{T}
    # Of the steps reversed since M̄ was last added to, in the order of their slots.
    g::Vector{T}
    # Mᵀg_s, turned into X̄_s by the pass that needs it first.
    bar::Vector{T}
    sums::Spread{T}
    gradient::Coefficients{T}
    room::OuterRoom{T}
    # Steps whose part of M̄ is added at once, those of one slot ÷ group; and how many wait.
    group::Int
    waiting::Int
    # p̄ and v̄ of the block, where they are wanted.
    inside::Vector{T}
    outside::Vector{T}
end

function Reverse{T}(network::Network, S::Int, width::Int) where {T}
    n = network.M.n
    stacked() = Vector{T}(undef, n * width * S)
    # Of shifts they are always wanted.
    along_drive() = Vector{T}(undef, shifts(network) == 0 ? 0 : n * width)
    group = step_group(n, S, width)
    return Reverse(
        Vector{T}(undef, n * width), stacked(),
        # The outer product loads a whole panel of rows from the last column.
        zeros(T, n * width * S * group + panel_rows(T)),
        stacked(), Spread{T}(n, width), Coefficients{T}(n, shifts(network)),
        OuterRoom{T}(n, S * width * group), group, 0, along_drive(), along_drive(),
    )
end

"Steps whose outer products are one: where M̄ is large, it should not pass by for a few columns."
step_group(n::Int, S::Int, width::Int) =
    laid_out(n) ? max(1, OUTER_COLUMNS ÷ (S * width)) : 1

"Forget the gradient."
function clear!(back::Reverse)
    back.waiting = 0
    clear!(back.sums)
    clear!(back.gradient)
    return back
end

"The gradient of all steps reversed since `clear!`."
finish!(back::Reverse) = collect!(back.gradient, back.sums)

"""
    reverse_step!(back, ws, network, tableau, slot)

Carry `back.adjoint` from the end of the step recorded in `slot` to its start. Slots have to come
one after the other down to 0, from where on M̄ is complete.
"""
@generated function reverse_step!(
    back::Reverse, ws::Forward, network::Network, method::Tableau{S}, slot::Int
) where {S}
    body = quote
        m = ws.m
        at = slot * $S * m
        g_at = slot % back.group * $S * m
    end
    for s in S:-1:1
        push!(body.args, quote
            reverse_stage!(back, ws, network.envelope, method, Val($s), at, g_at)
            here = $(s - 1) * m
            product!(back.bar, here, network.transposed, back.g, g_at + here, ws.columns)
        end)
    end
    push!(body.args, quote
        reverse_end!(back, ws, method)
        back.waiting += 1
        if g_at == 0
            add_outer_product!(
                back.gradient.M, back.g, ws.state, at, back.waiting * $S * ws.columns,
                network.tiles, back.room,
            )
            back.waiting = 0
        end
        return nothing
    end)
    return body
end

"The pass of stage s on the way back: X̄ of the stage after it, then κ, g and the sums."
@generated function reverse_stage!(
    back::Reverse{T}, ws::Forward{T,P,V,C}, φ::E, ::Tableau{S,A,B}, ::Val{s}, at::Int, g_at::Int
) where {T,P,V,C,E<:Envelope,S,A,B,s}
    κ = B[s] == 0 ? :(zero(T)) : :(T($(B[s])) * adjoint[e])
    for r in (s + 1):S
        A[r][s] == 0 && continue
        term = r == s + 1 ? :following : :(bar[$(r - 1) * m + e])
        κ = A[r][s] == 1 ? :($κ + $term) : :(muladd(T($(A[r][s])), $term, $κ))
    end
    with_z = E <: Union{Polynomial,Hill}
    next_bar = if s == S
        nothing
    else
        quote
            following = bar[$s * m + e] - c[i] * kappa[$s * m + e]
            bar[$s * m + e] = following
        end
    end
    return quote
        adjoint, kappa, g, bar = back.adjoint, back.kappa, back.g, back.bar
        state, phi, z, v = ws.state, ws.phi, ws.z, ws.outside
        a, c, m, h = ws.scaled.a, ws.scaled.c, ws.m, T(ws.h)
        sum_a, sum_b, sum_c = back.sums.a, back.sums.b, back.sums.c
        $(masked(C) ? :(moves = ws.course.moves) : nothing)
        here, stage = at + $(s - 1) * m, $(s - 1) * m
        to = g_at + stage
        for start in 0:length(a):(m - 1)
            @inbounds @simd ivdep for i in 1:min(length(a), m - start)
                e = start + i
                $next_bar
                κ = $(masked(C) ? :(moves[e] * $κ) : κ)
                output = phi[here + e]
                input = $(with_z ? :(z[here + e]) : :output)
                kappa[stage + e] = κ
                g[to + e] = κ * a[i] * slope(φ, input, output)
                κh = h * κ
                sum_a[i] = muladd(κh, output, sum_a[i])
                sum_c[i] = muladd(κh, state[here + e], sum_c[i])
                $(V == Nothing ? nothing : :(sum_b[i] = muladd(κh, v[e], sum_b[i])))
            end
        end
        return nothing
    end
end

"The end of a step on the way back, where λ becomes λ + Σ X̄_s."
@generated function reverse_end!(
    back::Reverse{T}, ws::Forward{T}, ::Tableau{S}
) where {T,S}
    sum_ = :(adjoint[e] + (bar[e] - c[i] * kappa[e]))
    for s in 2:S
        sum_ = :($sum_ + bar[$(s - 1) * m + e])
    end
    return quote
        adjoint, kappa, bar, c, m = back.adjoint, back.kappa, back.bar, ws.scaled.c, ws.m
        for start in 0:length(c):(m - 1)
            @inbounds @simd ivdep for i in 1:min(length(c), m - start)
                e = start + i
                adjoint[e] = $sum_
            end
        end
        return nothing
    end
end

"Add the derivative of the loss with respect to the state at a requested time."
function add_seeds!(back::Reverse, seeds::Vector, at::Int, m::Int)
    adjoint = back.adjoint
    @inbounds @simd ivdep for e in 1:m
        adjoint[e] += seeds[at + e]
    end
    return nothing
end

"""
Add the seeds of the stops `k`, `k` − 1, … that were reached after `step` steps, and go back over
the segments that began there. Returns the last stop before.
"""
function pass_stops!(back::Reverse, ws::Forward, stops, steps_at, k, step, seeds, inputs, positions)
    while k >= 1 && steps_at[k] >= step
        asked = stops.asked[k]
        asked == 0 || add_seeds!(back, seeds, (asked - 1) * ws.m, ws.m)
        stops.begins[k] == 0 || leave!(back, ws, ws.course, inputs, positions)
        k -= 1
    end
    return k
end

leave!(back::Reverse, ws::Forward, ::Nothing, inputs, positions) = nothing

"Go back from the beginning of the segment at hand to the end of the one before."
function leave!(back::Reverse, ws::Forward, course::Course, inputs, positions)
    leave_drive!(inputs, positions, back, ws)
    each_jump(e -> (back.adjoint[e] = 0), course.treatment.jumps, course)
    load!(ws, course, course.segment - 1)
    return nothing
end

"Add to the shifts, and write the derivatives with respect to u, of the segment at hand, whose steps are reversed."
function leave_drive!(inputs, positions, back::Reverse, ws::Forward)
    of_drive(inputs, ws) || return nothing
    add_shifts!(back.gradient.shifts, back.inside, ws.reach, ws.columns)
    write_drive!(inputs, positions, back, ws)
    clear_drive!(back, ws)
    return nothing
end

"Whether p̄ and v̄ are needed."
of_drive(inputs, ws::Forward) = inputs !== nothing || !isempty(ws.shifts)

write_drive!(::Nothing, positions, back, ws) = nothing
function write_drive!(inputs::TreatmentGradient, positions, back::Reverse, ws::Forward)
    course, doses = ws.course, ws.initial
    treatment, s = course.treatment, course.segment
    # The doses have done their work: the derivatives with respect to them take their place.
    fill!(doses, 0)
    each_jump(e -> (doses[e] = back.adjoint[e]), treatment.jumps, course)
    pull_back_drive!(
        view(inputs.perturbation, :, s, :), positions, treatment.lowering,
        segment(treatment, s), course.columns, back.inside, back.outside, doses,
    )
    return nothing
end

"""
Go back from the first step of a block to what it starts from: write the derivatives with respect to
u and x₀ of its conditions.
"""
function leave_start!(
    back::Reverse, ws::Forward, ::Nothing, lowering, u, columns, inputs, positions
)
    add_shifts!(back.gradient.shifts, back.inside, ws.reach, ws.columns)
    inputs === nothing || pull_back_drive!(
        inputs, positions, lowering, u, columns, back.inside, back.outside, back.adjoint
    )
    return nothing
end
function leave_start!(
    back::Reverse, ws::Forward, course::Course, lowering, treatment, columns, inputs, positions
)
    leave_drive!(inputs, positions, back, ws)
    write_start!(inputs, positions, back.adjoint, ws.n)
    each_jump(e -> (back.adjoint[e] = 0), treatment.jumps, course)
    keep_start!(treatment, columns, back.adjoint)
    return nothing
end

write_start!(::Nothing, positions, adjoint, n) = nothing
function write_start!(inputs::TreatmentGradient, positions, adjoint, n)
    for (q, to) in enumerate(positions)
        copyto!(inputs.initial_state, (to - 1) * n + 1, adjoint, (q - 1) * n + 1, n)
    end
    return nothing
end

"Get ready for p̄ and v̄ of a block."
function clear_drive!(back::Reverse, ws::Forward)
    for sums in (back.inside, back.outside)
        fill!(resize!(sums, ws.m), 0)
    end
    return nothing
end

"Add the part of p̄ and v̄ of the step that was reversed last, recorded in `slot`."
function add_drive!(back::Reverse, ws::Forward, ::Tableau{S}, slot::Int) where {S}
    inside, outside, g, kappa = back.inside, back.outside, back.g, back.kappa
    b, m = ws.scaled.b, ws.m
    for stage in 0:m:((S - 1) * m), start in 0:length(b):(m - 1)
        g_at = slot % back.group * S * m + stage
        @inbounds @simd ivdep for i in 1:min(length(b), m - start)
            e = start + i
            inside[e] += g[g_at + e]
            outside[e] += b[i] * kappa[stage + e]
        end
    end
    return nothing
end
