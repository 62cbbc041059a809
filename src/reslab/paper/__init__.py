"""The paper's tables and figures as experiments: what it says, what is run here, and whether its claims hold."""
