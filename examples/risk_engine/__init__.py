"""An AI risk engine: a multi-tenant service on top of riskscale, and the place where its parts are proven together."""
