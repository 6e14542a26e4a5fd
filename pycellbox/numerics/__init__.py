"""What all backends share: the kernel of a model, step control, losses, sensitivities."""
