"""A budget in a deque."""

import pytest

from moviehub.adapters.memory.budget import MemoryBudget
from tests.contracts.budget import BudgetContract, Open


class TestMemoryBudget(BudgetContract):
    @pytest.fixture
    def opened(self) -> Open:
        return MemoryBudget
