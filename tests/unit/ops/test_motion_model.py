import torch

from selfseg.ops.motion_model import CONSTANT_RIDGE, RIDGE, extrapolate_affine

HEIGHT, WIDTH = 12, 20


def grid() -> torch.Tensor:
    """Coordinates (x, y), shorter axis within [-1, 1]; 2 h w, float64."""
    half = HEIGHT / 2
    y, x = torch.meshgrid(
        (torch.arange(HEIGHT, dtype=torch.float64) - (HEIGHT - 1) / 2) / half,
        (torch.arange(WIDTH, dtype=torch.float64) - (WIDTH - 1) / 2) / half,
        indexing="ij",
    )
    return torch.stack([x, y])


def test_it_minimises_the_ridge_regression_it_claims_to():
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(1, 2, HEIGHT, WIDTH, dtype=torch.float64, generator=generator)
    weight = torch.rand(1, 1, HEIGHT, WIDTH, dtype=torch.float64, generator=generator)
    x, y = grid()
    basis = torch.stack([torch.ones_like(x), x, y])
    coefficients = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    fitted = extrapolate_affine(flow, weight)[0]
    # Read the coefficients off the extrapolation, then ask for the cost's gradient there.
    solution = torch.linalg.lstsq(basis.flatten(1).T, fitted.flatten(1).T).solution.T
    coefficients = solution.detach().requires_grad_()
    error = flow[0] - torch.einsum("ck,khw->chw", coefficients, basis)
    penalty = (coefficients.square() * torch.tensor([CONSTANT_RIDGE, 1, 1])).sum()
    cost = (weight[0] * error.square()).sum(0).mean() + RIDGE * penalty
    (gradient,) = torch.autograd.grad(cost, coefficients)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-9, rtol=0)


def test_what_has_no_weight_is_not_looked_at():
    flow = torch.rand(1, 2, HEIGHT, WIDTH)
    weight = torch.ones(1, 1, HEIGHT, WIDTH)
    weight[..., 3:8, 5:12] = 0
    changed = flow.clone()
    changed[..., 3:8, 5:12] += 100
    expected = extrapolate_affine(flow, weight)
    torch.testing.assert_close(extrapolate_affine(changed, weight), expected)


def test_no_context_predicts_no_motion():
    flow = torch.rand(2, 2, HEIGHT, WIDTH)
    guess = extrapolate_affine(flow, torch.zeros(2, 1, HEIGHT, WIDTH))
    torch.testing.assert_close(guess, torch.zeros_like(guess))


def test_gradients_reach_the_mask_through_the_solve():
    options = {"dtype": torch.float64, "generator": torch.Generator().manual_seed(1)}
    flow = torch.randn(1, 2, 4, 5, **options)
    weight = torch.rand(1, 1, 4, 5, **options).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: extrapolate_affine(flow, w), (weight,))
