"""How a history becomes one vector at each of its positions: one file and one line each."""
