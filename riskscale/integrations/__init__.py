"""Plugs for other packages, one module each. Nothing here is imported by riskscale itself."""
