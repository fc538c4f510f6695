"""What may go wrong, done on purpose."""

import pytest

pytest.register_assert_rewrite("tests.faults.scenes")
